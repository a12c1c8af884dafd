// Package machine keeps the list of VMs that run, each with a socket by which it is asked and told things while it does.
//
//	tandem vm run (pid 4711)                    tandem vm net set NAME --rate 100M
//	     |                                              |
//	     | Register                                     | Find, Call
//	     v                                              v
//	/run/tandem/vms/NAME/vm.json   {"pid": 4711, ...}   <- is it there still?
//	/run/tandem/vms/NAME/api.sock  <------------------- HTTP, JSON
//	     |
//	     +--> the handler that Register was given
//
// A VM that was killed leaves its folder. Nobody takes it for a VM that runs, as the process's start time stands in it,
// and whoever registers the same name, or lists VMs to clean up, removes it.
package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/internal/lock"
	"tandem/internal/pattern"
	"tandem/internal/process"
)

// Errors of Register and Find.
var (
	ErrTaken    = errors.New("a VM of that name runs")
	ErrNotFound = errors.New("no VM of that name runs")
)

// Record is what is known of a VM without asking it.
type Record struct {
	Name    string     `json:"name"`
	Process process.ID `json:"process"`
	Created time.Time  `json:"created"`
	CPUs    int        `json:"cpus"`
	Memory  uint64     `json:"memory"` // bytes
	Kernel  string     `json:"kernel"`
	Command []string   `json:"command,omitempty"`
	// Addresses are what tandem gave to the guest's network cards, in their order. What else a guest gives itself nobody
	// here knows.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
}

// Registry is the folder of all VMs.
type Registry struct{ Folder string }

const (
	recordFile = "vm.json"
	socketFile = "api.sock"
)

var namePattern = pattern.New(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// CheckName tells whether a VM can have the name.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("name %q: want letters, digits, _ . -, at most 64, the first a letter or a digit", name)
	}
	return nil
}

// Entry is a VM's place in the registry. It is for one goroutine.
type Entry struct {
	folder   string
	server   *http.Server
	listener net.Listener
	done     chan struct{}
}

// Register puts this process's VM on the list, and serves requests until Close.
func (r Registry) Register(record Record, handler http.Handler) (*Entry, error) {
	if err := CheckName(record.Name); err != nil {
		return nil, err
	}
	var err error
	if record.Process, err = process.Self(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.Folder, 0o711); err != nil {
		return nil, err
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	e := &Entry{folder: filepath.Join(r.Folder, record.Name), done: make(chan struct{})}
	if old, err := r.read(record.Name); err == nil && old.Process.Alive() {
		return nil, fmt.Errorf("%s: %w (process %d)", record.Name, ErrTaken, old.Process.PID)
	}
	if err := os.RemoveAll(e.folder); err != nil {
		return nil, err
	}
	if err := os.Mkdir(e.folder, 0o700); err != nil {
		return nil, err
	}
	if e.listener, err = net.Listen("unix", filepath.Join(e.folder, socketFile)); err == nil {
		// Last, as who finds the record calls the socket.
		err = os.WriteFile(filepath.Join(e.folder, recordFile), text, 0o600)
	}
	if err != nil {
		if e.listener != nil {
			err = errors.Join(err, e.listener.Close())
		}
		return nil, errors.Join(err, os.RemoveAll(e.folder))
	}
	e.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(e.done)
		_ = e.server.Serve(e.listener) // until Close
	}()
	return e, nil
}

// Close takes the VM off the list.
func (e *Entry) Close() error {
	err := e.server.Close()
	<-e.done
	return errors.Join(err, os.RemoveAll(e.folder))
}

func (r Registry) lock() (unlock func(), err error) {
	return lock.File(filepath.Join(r.Folder, ".lock"))
}

func (r Registry) read(name string) (*Record, error) {
	text, err := os.ReadFile(filepath.Join(r.Folder, name, recordFile))
	if err != nil {
		return nil, err
	}
	record := new(Record)
	if err := json.Unmarshal(text, record); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(r.Folder, name, recordFile), err)
	}
	return record, nil
}

// List gives the VMs that run, by name.
func (r Registry) List() ([]Record, error) {
	entries, err := os.ReadDir(r.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Record
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		record, err := r.read(entry.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is coming or going
		}
		if err != nil {
			return list, err
		}
		if record.Process.Alive() {
			list = append(list, *record)
		}
	}
	slices.SortFunc(list, func(a, b Record) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Collect removes the folders of VMs that were killed, and gives their names.
func (r Registry) Collect(dry bool) ([]string, error) {
	if _, err := os.Stat(r.Folder); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	unlock, err := r.lock() // nobody is just registering
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := os.ReadDir(r.Folder)
	if err != nil {
		return nil, err
	}
	var dead []string
	var errs []error
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if record, err := r.read(entry.Name()); err == nil && record.Process.Alive() {
			continue
		}
		dead = append(dead, entry.Name())
		if !dry {
			errs = append(errs, os.RemoveAll(filepath.Join(r.Folder, entry.Name())))
		}
	}
	return dead, errors.Join(errs...)
}

// Find gives a VM that runs.
func (r Registry) Find(name string) (*Record, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	record, err := r.read(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !record.Process.Alive() {
		return nil, fmt.Errorf("%s: %w (tandem vm ls lists those that do)", name, ErrNotFound)
	}
	return record, err
}

// callLimit is how long a VM may take to answer.
const callLimit = 10 * time.Second

// Call asks a VM that runs. What it sends is JSON of in, if that is not nil; what it gets goes to out, if that is not.
func (r Registry) Call(ctx context.Context, name, method, path string, in, out any) error {
	if _, err := r.Find(name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	socket := filepath.Join(r.Folder, name, socketFile)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://vm"+path, body)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s: %s", name, strings.TrimSpace(string(text)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
