package layer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tandem/internal/testenv"
)

// BenchmarkUnpack unpacks 2000 files of 10 KB, and has tar do the same.
func BenchmarkUnpack(b *testing.B) {
	testenv.Need(b, testenv.Root)
	var items []item
	body := string(bytes.Repeat([]byte("0123456789"), 1000))
	for i := range 2000 {
		items = append(items, file(fmt.Sprintf("usr/share/d%d/f%d", i%100, i), body))
	}
	archive := pack(b, items...)
	for _, by := range []struct {
		name   string
		unpack func(dir string) error
	}{
		{"tandem", func(dir string) error {
			d, err := os.Open(dir)
			if err != nil {
				return err
			}
			defer d.Close()
			_, err = Unpack(context.Background(), d, bytes.NewReader(archive), Options{})
			return err
		}},
		{"tar", func(dir string) error {
			cmd := exec.Command("tar", "-x", "-C", dir)
			cmd.Stdin = bytes.NewReader(archive)
			return cmd.Run()
		}},
	} {
		b.Run(by.name, func(b *testing.B) {
			b.SetBytes(int64(len(archive)))
			top := b.TempDir()
			for i := range b.N {
				dir := filepath.Join(top, fmt.Sprint(i))
				if err := os.Mkdir(dir, 0o700); err != nil {
					b.Fatal(err)
				}
				if err := by.unpack(dir); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
