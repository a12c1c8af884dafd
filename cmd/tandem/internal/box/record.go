package box

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tandem/container/image"
	"tandem/internal/lock"
	"tandem/internal/process"
	"tandem/network"
)

// Record is what is known of a box, by whoever asks.
type Record struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Started time.Time `json:"started,omitzero"`
	Keeper  Keeper    `json:"keeper"`
	Options Options   `json:"options"` // as they were asked for
	Command []string  `json:"command"` // as it runs: the image's part too

	Image       string              `json:"image,omitempty"` // its digest
	ImageConfig ocispec.ImageConfig `json:"imageConfig,omitzero"`
	Lower       []string            `json:"lower,omitempty"` // layers, the topmost first
	Root        image.RootFolder    `json:"root,omitzero"`

	Healthcheck *image.Healthcheck `json:"healthcheck,omitempty"` // nil is none
	Health      *Health            `json:"health,omitempty"`      // what it found since the box was started

	PID      int                 `json:"pid,omitempty"`      // of its first process, on the host
	Restarts int                 `json:"restarts,omitempty"` // by its keeper, since it was started
	LastExit *Exit               `json:"lastExit,omitempty"` // before those
	Network  *network.Attachment `json:"network,omitempty"`
	Exit     *Exit               `json:"exit,omitempty"` // nil until it has ended

	home     *Home
	handover Handover
}

// Exit is how a box ended.
type Exit struct {
	Status    int       `json:"status"` // as a shell has it: 128 and the signal's number for one that was killed
	OOMKilled bool      `json:"oomKilled"`
	Error     string    `json:"error,omitempty"` // why it did not even start
	Finished  time.Time `json:"finished"`
}

const (
	recordFile = "box.json"
	exitFile   = "exit"
)

// file is a path in the box's own folder, of what goes with it.
func (r *Record) file(name string) string { return filepath.Join(r.home.runFolder(r.ID), name) }

// data is a path in the box's other folder, of what may be large.
func (r *Record) data(name string) string { return filepath.Join(r.home.dataFolder(r.ID), name) }

// save replaces the record, but for what others may have changed in it meanwhile: the box has one keeper, who has the
// record in memory, and may be given another name and other limits by whoever asks for that.
func (r *Record) save() error {
	unlock, err := r.lockRecord()
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.refresh(); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is the first time
		return err
	}
	return r.write()
}

// refresh reads what others may have changed.
func (r *Record) refresh() error {
	now, err := r.home.load(r.ID)
	if err != nil {
		return err
	}
	r.Name = now.Name
	r.Options.Limits, r.Options.Restart = now.Options.Limits, now.Options.Restart
	if now.Health != nil { // by the goroutine that tests it
		r.Health = now.Health
	}
	return nil
}

// change changes the record as it is now, and this one with it.
func (r *Record) change(f func(now *Record)) error {
	unlock, err := r.lockRecord()
	if err != nil {
		return err
	}
	defer unlock()
	now, err := r.home.load(r.ID)
	if err != nil {
		return err
	}
	f(now)
	if err := now.write(); err != nil {
		return err
	}
	*r = *now
	return nil
}

func (r *Record) lockRecord() (unlock func(), err error) {
	return lock.File(r.file(recordFile + ".lock"))
}

// write replaces the file in one step: a reader finds the old one or the new one.
func (r *Record) write() error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := r.file(recordFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fmt.Errorf("box %s: %w", ShortID(r.ID), err)
	}
	return os.Rename(path+".new", path)
}

func (h *Home) load(id string) (*Record, error) {
	path := filepath.Join(h.runFolder(id), recordFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Record{home: h}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("box: %s: %w", path, err)
	}
	if r.ID != id {
		return nil, fmt.Errorf("box: %s: it is that of %q", path, r.ID)
	}
	return r, nil
}

// List gives all boxes, the newest first. What cannot be read is an error beside those that can.
func (h *Home) List() ([]*Record, error) {
	entries, err := os.ReadDir(filepath.Join(h.Run, boxesFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []*Record
	var errs []error
	for _, e := range entries {
		r, err := h.load(e.Name())
		switch {
		case err == nil:
			list = append(list, r)
		case !errors.Is(err, fs.ErrNotExist): // that one is being made, or removed
			errs = append(errs, err)
		}
	}
	slices.SortFunc(list, func(a, b *Record) int { return b.Created.Compare(a.Created) })
	return list, errors.Join(errs...)
}

// Find gives the box that is meant by its name, its ID, or the first digits of that.
func (h *Home) Find(word string) (*Record, error) {
	list, err := h.List()
	var found []*Record
	for _, r := range list {
		switch {
		case r.ID == word || r.Name == word:
			return r, nil
		case word != "" && strings.HasPrefix(r.ID, word):
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrNotFound, word), err)
	case 1:
		return found[0], nil
	}
	var words []string
	for _, r := range found {
		words = append(words, fmt.Sprintf("%s (%s)", ShortID(r.ID), r.Name))
	}
	const enough = 4
	if more := len(words) - enough; more > 1 {
		words = append(words[:enough], fmt.Sprintf("%d more", more))
	}
	return nil, fmt.Errorf("%w: %s begins the IDs of %s", ErrAmbiguous, word, strings.Join(words, ", "))
}

// reserve makes the record of a box that does not run yet, with this process as its keeper.
func (h *Home) reserve(o Options) (*Record, error) {
	keeper, err := process.Self()
	if err != nil {
		return nil, err
	}
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	list, err := h.List()
	if err != nil {
		return nil, err
	}
	name, err := freeName(o.Name, list)
	if err != nil {
		return nil, err
	}
	r := &Record{ID: newID(), Name: name, Created: time.Now().UTC(), Keeper: keeper, Options: o, home: h}
	if err := os.MkdirAll(h.runFolder(r.ID), 0o711); err != nil {
		return nil, err
	}
	// The exit file stays the same file: who waits opens it, and can read it after the box was removed.
	if err := os.WriteFile(r.file(exitFile), nil, 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(h.runFolder(r.ID)))
	}
	if err := r.save(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(h.runFolder(r.ID)))
	}
	return r, nil
}

func freeName(wanted string, list []*Record) (string, error) {
	taken := make(map[string]string)
	for _, r := range list {
		taken[r.Name] = r.ID
	}
	if wanted != "" {
		if id := taken[wanted]; id != "" {
			return "", fmt.Errorf("%w: %q is container %s; remove it (tandem rm %s), or take another name", ErrTaken, wanted, ShortID(id), wanted)
		}
		return wanted, nil
	}
	name := newName()
	for n := 2; taken[name] != ""; n++ {
		name = fmt.Sprintf("%s%d", newName(), n)
	}
	return name, nil
}

// Folder is where the box's layer and log are.
func (r *Record) Folder() string { return r.data("") }

// HostFile is the path of what the box finds in /etc: hosts, hostname or resolv.conf. One that shares another's network has
// none of its own.
func (r *Record) HostFile(name string) string { return r.file(name) }

// Layer is the folder of what the box has written to its root.
func (r *Record) Layer() string { return r.data(upperFolder) }

// LogFile is the path of what Logs reads.
func (r *Record) LogFile() string { return r.data(logFile) }
