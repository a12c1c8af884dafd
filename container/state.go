package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/internal/kernfile"
	"tandem/internal/plan"
	"tandem/internal/process"
)

// A container's folder, below its engine's, holds:
const (
	stateFile  = "state.json" // what there is, see state
	startFIFO  = "start"      // start writes a byte to it; the process has it open until then
	failedFIFO = "failed"     // the process tells here why it could not execute the command
)

// state is what one process of tandem's leaves for the next one about a container. The file is a stream of JSON values:
//
//	{"id": ..., "configSize": N, ...}      one line
//	the configuration                      N bytes, as they were read: the bundle may be gone when it is needed again
//	{"init": {"pid": 4711, ...}}           one line, when the process is there: fields that have changed
//
// All but the last is written before the container's folder has its name. The last is appended by one write(2), which
// takes a fraction of the time that a new file takes. A reader finds it whole or not at all: what has no newline yet is
// not there.
type state struct {
	ID      string            `json:"id"`
	Bundle  string            `json:"bundle"`
	Rootfs  string            `json:"rootfs"`
	Created time.Time         `json:"created"`
	Owner   int               `json:"owner"` // user ID
	Maker   process.ID        `json:"maker"` // who makes it, as long as Init is not known
	Init    process.ID        `json:"init"`
	Cgroup  map[string]string `json:"cgroup,omitempty"`
	RDT     *rdtState         `json:"intelRdt,omitempty"`

	// Of the configuration, what is asked for most: the whole of it takes longer to read than most verbs take.
	Version     string            `json:"ociVersion"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Poststart   []specs.Hook      `json:"poststart,omitempty"`
	Poststop    []specs.Hook      `json:"poststop,omitempty"`
	StartHooks  []specs.Hook      `json:"startContainer,omitempty"`
	Command     string            `json:"command"`
	HostMounts  bool              `json:"hostMounts,omitempty"` // no mount namespace of its own: Rootfs is a mount of the host's
	Beneath     uint64            `json:"beneath,omitempty"`    // and this the mount that Rootfs was on before
	Notify      bool              `json:"notify,omitempty"`     // it has a socket for sd_notify(3)
	OwnPIDs     bool              `json:"ownPIDs,omitempty"`    // a PID namespace of its own, which ends with its first process
	OwnKeys     bool              `json:"ownKeys,omitempty"`    // a session keyring of its own, see keyringName
	ConfigSize  int               `json:"configSize"`           // bytes of the configuration, which follows

	ctx context.Context // of the one call that makes it
}

// makingMark begins the names of folders that are in the making, or being removed. No ID has it.
const makingMark = "~"

// serial tells apart what one process makes at the same time.
var serial atomic.Int64

func makingName(id string, pid int, n int64) string {
	return fmt.Sprintf("%s%d~%d~%s", makingMark, pid, n, id)
}

// stateSteps make the container's place: its folder, which is also what keeps its ID from being taken twice.
func (a *assembly) stateSteps() []plan.Step {
	dir := a.dir()
	making := filepath.Join(a.engine.Root, makingName(a.spec.ID, os.Getpid(), serial.Add(1)))
	steps := []plan.Step{
		{
			Op: "mkdir", Object: a.engine.Root, Args: []plan.Arg{plan.A("mode", "0711")}, Why: "where all containers' folders are",
			Do: func() error { return os.MkdirAll(a.engine.Root, 0o711) },
		},
		{
			Op: "mkdir", Object: making, Args: []plan.Arg{plan.A("mode", "0700")}, Why: "the container's folder, under a name that says who makes it",
			Do:   func() error { return os.Mkdir(making, 0o700) },
			Undo: func() error { return os.RemoveAll(making) },
		},
		{
			Op: "write", Object: filepath.Join(making, stateFile), Why: "what a crash leaves can be found, and removed",
			Do: func() error {
				maker, err := process.Self()
				if err != nil {
					return err
				}
				a.state.Maker = maker
				return a.writeState(making)
			},
		},
		{
			Op: "renameat2", Object: dir, Args: []plan.Arg{plan.A("flags", "RENAME_NOREPLACE")},
			Why: "the ID is taken by the first who gets here, with its state: there is never one without",
			Do: func() error {
				err := unix.Renameat2(unix.AT_FDCWD, making, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
				if errors.Is(err, fs.ErrExist) {
					return fmt.Errorf("%w: %s", ErrExists, a.spec.ID)
				}
				return err
			},
			Undo: func() error {
				a.unhook()
				return os.RemoveAll(dir)
			},
		},
	}
	if a.spec.Config.Root == nil || a.spec.Config.Root.Path == "" {
		path := a.rootPath()
		steps = append(steps, plan.Step{
			Op: "mkdir", Object: path, Args: []plan.Arg{plan.A("mode", "0755")}, Why: "where the layers are mounted",
			Do: func() error { return os.Mkdir(path, 0o755) },
		})
	}
	if a.spec.Notify {
		steps = append(steps, a.notifyStep())
	}
	if !a.detached {
		return steps
	}
	for _, name := range []string{startFIFO, failedFIFO} {
		path := filepath.Join(dir, name)
		steps = append(steps, plan.Step{
			Op: "mknod", Object: path, Args: []plan.Arg{plan.A("mode", "S_IFIFO|0600")},
			Why: map[string]string{startFIFO: "the process waits on it until it is started", failedFIFO: "and tells here if that failed"}[name],
			Do:  func() error { return unix.Mkfifo(path, 0o600) },
		})
	}
	return append(steps, plan.Step{
		Op: "open", Object: filepath.Join(dir, startFIFO), Why: "for the process, which inherits both ends",
		Do:   a.openFIFOs,
		Undo: a.closeFIFOs,
	})
}

// openFIFOs opens them so that nobody has to be at the other end: the first for reading and writing, as the process's own
// writing end keeps its read from ending; the second for writing only, as its end has to show.
func (a *assembly) openFIFOs() (err error) {
	if a.started, err = os.OpenFile(filepath.Join(a.dir(), startFIFO), os.O_RDWR, 0); err != nil {
		return err
	}
	both, err := os.OpenFile(filepath.Join(a.dir(), failedFIFO), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer both.Close()
	a.failed, err = os.OpenFile(filepath.Join(a.dir(), failedFIFO), os.O_WRONLY, 0)
	return err
}

func (a *assembly) closeFIFOs() error {
	for _, f := range []*os.File{a.started, a.failed} {
		if f != nil {
			f.Close()
		}
	}
	return nil
}

// writeState writes the state for the first time, with the configuration.
func (a *assembly) writeState(dir string) error {
	config := a.spec.Text
	if config == nil {
		var err error
		if config, err = json.Marshal(a.spec.Config); err != nil {
			return err
		}
	}
	a.state.ConfigSize = len(config)
	text, err := a.state.encode()
	if err != nil {
		return err
	}
	text = append(append(append(text, '\n'), config...), '\n')
	return writeAtOnce(filepath.Join(dir, stateFile), text, unix.O_CREAT|unix.O_EXCL)
}

// change is what becomes known of a container while it is made.
type change struct {
	Init    process.ID `json:"init"`
	Beneath uint64     `json:"beneath,omitempty"`
}

func (c change) append(dir string) error {
	text, err := c.encode()
	if err != nil {
		return err
	}
	return writeAtOnce(filepath.Join(dir, stateFile), append(text, '\n'), unix.O_APPEND)
}

// writeAtOnce writes to a file by one write(2).
func writeAtOnce(path string, text []byte, flags int) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, text)
	if err == nil && n != len(text) {
		err = unix.ENOSPC // as a full file system has it where some of it fitted
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// removeState removes a container's folder. It gives up its name first, all at once: whoever is killed in the middle leaves
// what Collect removes, and no folder that is a container's without a state. Most hold nothing but the state by now.
func removeState(dir string) error {
	root, id := filepath.Split(dir)
	gone := filepath.Join(root, makingName("", os.Getpid(), serial.Add(1)))
	if err := unix.Rename(dir, gone); err != nil {
		return fmt.Errorf("rename %s: %w", id, err)
	}
	_ = unix.Unlink(filepath.Join(gone, stateFile))
	if err := unix.Rmdir(gone); err == nil {
		return nil
	}
	return os.RemoveAll(gone)
}

// readState reads a container's state. A folder without one is a container that is being removed.
func readState(dir string) (*state, error) {
	s, _, err := readStateAndConfig(dir)
	return s, err
}

func readStateAndConfig(dir string) (s *state, config []byte, err error) {
	path := filepath.Join(dir, stateFile)
	text, err := kernfile.Read(path)
	if err != nil {
		return nil, nil, err
	}
	if s, config, err = parseState(text); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, config, nil
}

func parseState(text []byte) (s *state, config []byte, err error) {
	s = new(state)
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	if err := s.decode(first); err != nil {
		return nil, nil, err
	}
	if s.ConfigSize < 0 || s.ConfigSize > len(rest) {
		return nil, nil, fmt.Errorf("configSize %d, and %d bytes follow", s.ConfigSize, len(rest))
	}
	config, rest = rest[:s.ConfigSize], rest[s.ConfigSize:]
	rest = rest[:bytes.LastIndexByte(rest, '\n')+1]
	for line := range bytes.Lines(rest) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue // the one that ends the configuration
		}
		if err := s.decode(line); err != nil {
			return nil, nil, err
		}
	}
	return s, config, nil
}
