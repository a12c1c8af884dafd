package lease

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"tandem/network/netns"
)

const (
	maxFile    = 64 << 20 // a lease with its ports takes some hundred bytes
	fileSuffix = ".json"
	lockSuffix = ".lock"
)

// File is the file of one bridge. Its methods may be called at the same time, by any number of processes.
type File struct {
	Folder string
	Bridge string
	Host   netns.ID // the namespace that the bridge is in
}

// List names the bridges that a folder has files of.
func List(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lease: %w", err)
	}
	var bridges []string
	for _, e := range entries {
		name, isFile := strings.CutSuffix(e.Name(), fileSuffix)
		name, isLock := strings.CutSuffix(name, lockSuffix) // left alone by a process that was killed
		if isFile || isLock {
			bridges = append(bridges, name)
		}
	}
	slices.Sort(bridges)
	return slices.Compact(bridges), nil
}

// Path names the file.
func (f File) Path() string { return filepath.Join(f.Folder, f.Bridge+fileSuffix) }

func (f File) lockPath() string      { return filepath.Join(f.Folder, f.Bridge+lockSuffix) }
func (f File) temporaryPath() string { return filepath.Join(f.Folder, "."+f.Bridge+".tmp") }

// Read reads the file without the lock: what it returns may be old by the time that it is looked at. Without a file,
// or with one of an earlier boot, the network has no leases.
func (f File) Read() (*Network, error) {
	n, _, err := f.load()
	if err != nil {
		return nil, fmt.Errorf("lease: %s: %w", f.Path(), err)
	}
	return n, nil
}

// Update calls change with the file locked, and writes what it makes of the network, unless it returns an error. A
// network without leases has no file.
//
// What change does to the kernel is under the lock as well. Waiting for the lock ends with ctx.
func (f File) Update(ctx context.Context, change func(*Network) error) error {
	lock, err := f.lock(ctx)
	if err != nil {
		return fmt.Errorf("lease: lock %s: %w", f.lockPath(), err)
	}
	defer f.unlock(lock)
	n, before, err := f.load()
	if err != nil {
		return fmt.Errorf("lease: %s: %w", f.Path(), err)
	}
	if n.Host != f.Host {
		if len(n.Leases) > 0 {
			return fmt.Errorf("lease: %s: %w", f.Path(), ErrOtherHost)
		}
		n.Host = f.Host
	}
	if err := change(n); err != nil {
		return err
	}
	if len(n.Leases) == 0 {
		err = os.Remove(f.Path())
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = f.store(n, before)
	}
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

// load reads and checks the file, and returns its text, too, which is nil if the file does not count.
func (f File) load() (n *Network, text []byte, err error) {
	boot, err := bootID()
	if err != nil {
		return nil, nil, err
	}
	fresh := &Network{Version: version, Boot: boot, Host: f.Host, Bridge: f.Bridge}
	file, err := os.OpenFile(f.Path(), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if text, err = io.ReadAll(io.LimitReader(file, maxFile+1)); err != nil {
		return nil, nil, err
	}
	if n, err = parse(text, f.Bridge); err != nil {
		return nil, nil, fmt.Errorf("%w: %w; once no box is on %s, remove the file", ErrCorrupt, err, f.Bridge)
	}
	if n.Boot != boot { // the kernel that the leases speak of is gone, and all that it held
		return fresh, nil, nil
	}
	return n, text, nil
}

// parse reads what store wrote, and nothing else.
func parse(text []byte, bridge string) (*Network, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	var form struct{ Version int }
	if err := json.Unmarshal(text, &form); err == nil && form.Version != version {
		return nil, fmt.Errorf("version %d, this tandem knows %d", form.Version, version)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	n := new(Network)
	if err := decoder.Decode(n); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows")
	}
	if err := n.check(bridge); err != nil {
		return nil, err
	}
	return n, nil
}

// store writes a new file beside the old one and puts it in its place. Only the holder of the lock does, so that one
// name serves for all that die in the middle.
func (f File) store(n *Network, before []byte) error {
	if err := n.check(f.Bridge); err != nil {
		return fmt.Errorf("%s: %w", f.Path(), err) // better not written than not read
	}
	text, err := json.MarshalIndent(n, "", "\t")
	if err != nil {
		return err
	}
	if text = append(text, '\n'); bytes.Equal(text, before) {
		return nil
	}
	temporary := f.temporaryPath()
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync() // rename does not wait for the bytes, and a file of none would be a corrupted one
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(temporary, f.Path())
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
}

var bootID = sync.OnceValues(func() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
})
