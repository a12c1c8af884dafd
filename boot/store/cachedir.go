package store

import (
	"fmt"
	"os"
	"path/filepath"
)

// CacheDir is where tandem keeps what it can make again: $TANDEM_CACHE, or "tandem" in the user's cache folder. It may
// not be there yet.
func CacheDir() (string, error) {
	if dir := os.Getenv("TANDEM_CACHE"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("store: find cache folder: %w", err)
		}
		return abs, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("store: find cache folder: %w (TANDEM_CACHE names one)", err)
	}
	return filepath.Join(dir, "tandem"), nil
}
