package initramfs

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"tandem/internal/linked"
)

// AddProgram puts a program of this host's into a guest, with its loader and its libraries: all where they are on the host,
// and the loader's cache, so that it finds them.
func AddProgram(p linked.Program) ([]File, error) {
	var files []File
	for _, name := range p.Files() {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("initramfs: add %s: %w", p.Path, err)
		}
		files = append(files, File{Name: filepath.Clean(name), Mode: 0o755, Data: data})
	}
	const cache = "/etc/ld.so.cache"
	if data, err := os.ReadFile(cache); err == nil && p.Loader != "" {
		files = append(files, File{Name: cache, Mode: 0o644, Data: data})
	}
	return files, nil
}

// Applets are the programs that busybox gives to a guest of this host's: their paths in the guest, /bin/ls and so on. There
// are none without busybox.
func Applets(ctx context.Context) ([]string, error) {
	busybox := hostBusybox()
	if busybox == "" {
		return nil, nil
	}
	links, err := applets(ctx, busybox)
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	list := []string{"/bin/busybox"}
	for _, link := range links {
		list = append(list, path.Join("/", link))
	}
	return list, nil
}
