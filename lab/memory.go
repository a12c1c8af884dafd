package lab

import (
	"bufio"
	"fmt"
	"os"
)

// availableMemory reads how many bytes new programs can have without others being swapped out: proc(5), MemAvailable.
func availableMemory(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kilobytes uint64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("%s: no MemAvailable", path)
}
