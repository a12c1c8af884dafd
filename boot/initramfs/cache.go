package initramfs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// layoutVersion is part of each key; it goes up when the archive's own layout changes.
	layoutVersion = 1
	// keep is how many archives stay in the cache.
	keep = 8

	archiveFile = "archive.cpio"
	describing  = "archive.json"
	tempPrefix  = ".new-"
	// staleAfter is when a temporary folder's maker is taken for dead.
	staleAfter = time.Hour
)

// key digests what tells one input from another without reading it.
func (b Base) key() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "tandem initramfs %d\n", layoutVersion)
	inputs := []string{b.Init, b.Busybox, ""}
	if b.ModulesDir != "" {
		// The index stands for the tree: depmod writes it whenever a module comes or goes.
		inputs[2] = filepath.Join(b.ModulesDir, "modules.dep")
	}
	for _, file := range inputs {
		if file == "" {
			fmt.Fprintln(h, "-")
			continue
		}
		abs, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		var st unix.Stat_t
		if err := unix.Stat(abs, &st); err != nil {
			return "", fmt.Errorf("stat %s: %w", file, err)
		}
		fmt.Fprintf(h, "%q %d %d %d %d.%09d\n", abs, st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
	}
	for _, s := range b.Sets {
		fmt.Fprintf(h, "%q %q\n", s.Required, s.Optional)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// A cache is a folder with a folder per key. A key's folder appears by a rename, complete; so a reader needs no lock,
// and two makers of the same archive do no harm to each other.
type cache struct{ dir string }

// get gives the archive of a key; fs.ErrNotExist says that it has to be made, or that somebody has damaged it and it
// has to be made again.
func (c cache) get(key string) (*Archive, error) {
	dir := filepath.Join(c.dir, key)
	data, err := os.ReadFile(filepath.Join(dir, describing))
	if err != nil {
		return nil, err
	}
	a := &Archive{Path: filepath.Join(dir, archiveFile)}
	err = json.Unmarshal(data, a)
	st, serr := os.Stat(a.Path)
	if err != nil || serr != nil || st.Size() != a.Size {
		return nil, fs.ErrNotExist
	}
	// The folder's time is when it was last used; that it cannot be set, in a read-only cache, is no reason to fail.
	now := time.Now()
	_ = os.Chtimes(dir, now, now)
	return a, nil
}

// put makes the archive of a key, and removes the ones that were not used for longest.
func (c cache) put(key string, write func(*os.File) (*Archive, error)) (*Archive, error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(c.dir, tempPrefix)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	if err := fill(temp, write); err != nil {
		return nil, err
	}
	if err := c.place(temp, key); err != nil {
		return nil, err
	}
	a, err := c.get(key)
	if err != nil {
		return nil, err
	}
	return a, c.prune(key)
}

// place gives a finished folder its name.
func (c cache) place(temp, key string) error {
	final := filepath.Join(c.dir, key)
	err := os.Rename(temp, final)
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	// Another process was first, and its archive is as good; or the one that is there is damaged.
	if _, err := c.get(key); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	return os.Rename(temp, final)
}

// fill writes an archive and its description into dir.
func fill(dir string, write func(*os.File) (*Archive, error)) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, archiveFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	a, err := write(f)
	if err == nil {
		// Else the machine may crash with the folder renamed and the archive's blocks not written.
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, describing), data, 0o644)
}

// prune removes all but the last used archives and the one of key, and what makers that died have left.
func (c cache) prune(key string) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	type used struct {
		path string
		at   time.Time
	}
	var old []used
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // somebody else prunes too
			continue
		}
		if err != nil {
			return err
		}
		u := used{filepath.Join(c.dir, e.Name()), info.ModTime()}
		switch {
		case strings.HasPrefix(e.Name(), tempPrefix):
			if time.Since(u.at) > staleAfter {
				err = os.RemoveAll(u.path)
			}
		case e.Name() != key && len(e.Name()) == sha256.Size*2:
			old = append(old, u)
		}
		if err != nil {
			return err
		}
	}
	slices.SortFunc(old, func(a, b used) int { return b.at.Compare(a.at) })
	for len(old) > keep-1 {
		last := old[len(old)-1]
		old = old[:len(old)-1]
		if err := os.RemoveAll(last.path); err != nil {
			return err
		}
	}
	return nil
}
