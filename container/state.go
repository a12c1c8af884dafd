package container

import (
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

	"tandem/internal/plan"
	"tandem/internal/process"
)

// A container's folder, below its engine's, holds:
const (
	stateFile  = "state.json" // what there is, written anew and renamed at each change
	configFile = "config.json"
	startFIFO  = "start"  // start writes a byte to it; gone once the container was started
	failedFIFO = "failed" // the process tells here why it could not execute the command
)

// state is what one process of tandem's leaves for the next one about a container.
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

	ctx context.Context // of the one call that makes it
}

// makingMark begins the names of folders that are in the making. No ID has it.
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
				return errors.Join(a.writeConfig(making), a.state.write(making))
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
			Undo: func() error { return os.RemoveAll(dir) },
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

// writeConfig keeps the configuration: the bundle may be gone when it is needed again.
func (a *assembly) writeConfig(dir string) error {
	text := a.spec.Text
	if text == nil {
		var err error
		if text, err = json.Marshal(a.spec.Config); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, configFile), text, 0o600)
}

// write replaces the state file in one step: a reader finds the old state or the new one.
func (s *state) write(dir string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readState reads a container's state. A folder without one is a container that is just being made, or whose making was
// cut short.
func readState(dir string) (*state, error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	s := new(state)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	return s, nil
}
