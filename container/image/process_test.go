package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/container/image/layer"
)

// helperVariable has this test binary do something as a process of its own: a word and the root of the store.
const helperVariable = "TANDEM_IMAGE_HELPER"

// testProcess is that process.
func testProcess() bool {
	word, root, ok := strings.Cut(os.Getenv(helperVariable), " ")
	if !ok {
		return false
	}
	if err := doWord(word, root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func doWord(word, root string) error {
	s, err := Open(root)
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch word {
	case "import": // an archive on stdin
		_, err := s.Import(ctx, os.Stdin, ImportOptions{Name: "helped"})
		return err
	case "refuse": // an archive on stdin, of which nothing may stay
		_, err := s.Import(ctx, os.Stdin, ImportOptions{Name: "refused"})
		if !errors.Is(err, os.ErrPermission) && !errors.Is(err, layer.ErrDuplicate) {
			return fmt.Errorf("not refused as it should be: %v", err)
		}
		if u, err := s.Usage(); err != nil || u.Garbage != 0 || u.Layers != 1 {
			return fmt.Errorf("left %+v, %v", u, err)
		}
		return nil
	case "full": // an archive on stdin that the disk is too small for
		if _, err := s.Import(ctx, os.Stdin, ImportOptions{Name: "full"}); !errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("a full disk: %v", err)
		}
		if u, err := s.Usage(); err != nil || u != (Usage{}) {
			return fmt.Errorf("left %+v, %v", u, err)
		}
		left, err := filepath.Glob(filepath.Join(root, "images", "*", "*-*"))
		if err != nil || len(left) != 0 {
			return fmt.Errorf("left %q, %v", left, err)
		}
		_, err = s.Import(ctx, bytes.NewReader(nil), ImportOptions{Name: "nothing"})
		if !errors.Is(err, ErrFormat) { // it works still
			return err
		}
		return nil
	case "full-remove": // an archive on stdin; then the disk gets full
		if _, err := s.Import(ctx, os.Stdin, ImportOptions{Name: "large"}); err != nil {
			return err
		}
		if err := fill(filepath.Join(root, "filler")); err != nil {
			return err
		}
		r, err := s.Remove("large", false)
		if err != nil || len(r.Images) != 1 || r.Bytes < 1<<17 || r.Kept {
			return fmt.Errorf("removed from a full disk: %+v, %w", r, err)
		}
		if u, err := s.Usage(); err != nil || u != (Usage{}) {
			return fmt.Errorf("left %+v, %v", u, err)
		}
		return nil
	case "remove":
		if !s.UserXattr() {
			return errors.New("a user's layers are not for userxattr")
		}
		changes, err := s.Changes(ctx, "helped", nil)
		if err != nil || len(changes) != 1 || changes[0].Skipped == 0 {
			return fmt.Errorf("%+v, %w", changes, err)
		}
		_, err = s.Remove("helped", false)
		return err
	case "churn": // add and remove the same images over and over, and look at them in between
		for i := range 8 {
			name := fmt.Sprintf("churn:%d-%d", os.Getpid(), i)
			if _, err := s.ImportPath(ctx, os.Getenv("ARCHIVE"), ImportOptions{Name: name}); err != nil {
				return err
			}
			lease, err := s.Acquire(ctx, fmt.Sprintf("c%d", os.Getpid()), name, nil)
			if err != nil {
				return err
			}
			if _, err := s.Remove(name, true); err != nil {
				return err
			}
			for _, dir := range lease.Lower {
				if _, err := os.ReadDir(dir); err != nil {
					return fmt.Errorf("a leased layer: %w", err)
				}
			}
			if err := s.Release(lease.Owner); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no such word: %q", word)
}

// fill writes a file until there is no room for another byte.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill the disk: %w", err)
	}
	return nil
}

func process(t testing.TB, word string, s *Store, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, helperVariable+"="+word+" "+strings.TrimSuffix(s.dir, "/images"))...)
	cmd.Stderr = os.Stderr
	return cmd
}
