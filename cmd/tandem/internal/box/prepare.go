package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tandem/container"
	"tandem/container/image"
	"tandem/internal/plan"
	"tandem/network"
)

// New reserves a name and an ID for a box, and finds its layers: an image's are leased, and unpacked if they are not yet.
// The caller is its keeper, until Keep has returned or the box is handed over. A box that does not come to be is his to
// discard.
func (h *Home) New(ctx context.Context, o Options, progress image.Progress) (*Record, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	r, err := h.reserve(o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.takeVolumes(), r.findLayers(ctx, progress)); err != nil {
		return nil, errors.Join(err, r.discard())
	}
	if err := r.save(); err != nil {
		return nil, errors.Join(err, r.discard())
	}
	r.tell("create")
	return r, nil
}

func (r *Record) findLayers(ctx context.Context, progress image.Progress) error {
	o := &r.Options
	if o.Rootfs != "" {
		if err := r.useFolder(); err != nil {
			return err
		}
		return errors.Join(r.setCommand(), r.setHealthcheck(nil))
	}
	store, err := r.home.Images()
	if err != nil {
		return err
	}
	lease, err := store.Acquire(ctx, r.ID, o.Image, progress)
	if err != nil {
		return err
	}
	r.Image, r.Lower, r.Root, r.ImageConfig = lease.Image.String(), lease.Lower, lease.Root, lease.Config.Config
	return errors.Join(r.setCommand(), r.setHealthcheck(lease.Health))
}

// useFolder takes a folder of the host for the one layer.
func (r *Record) useFolder() error {
	path := r.Options.Rootfs
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return fmt.Errorf("--rootfs: %w", &os.PathError{Op: "stat", Path: path, Err: err})
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("--rootfs: %s is no folder", path)
	}
	if os.Geteuid() != 0 {
		if err := checkBare(path); err != nil {
			return err
		}
	}
	r.Lower = []string{path}
	r.Root = image.RootFolder{Mode: stat.Mode & 0o7777, UID: stat.Uid, GID: stat.Gid}
	return nil
}

// folders are the steps that come before the engine's: where the box's root takes what is written, and what it finds in
// /etc. Nobody but the host's root gets to them by path.
func (r *Record) folders(n *boxNetwork) plan.Phase {
	steps := append([]plan.Step{r.dataStep()}, r.layerSteps()...)
	if n.mode.Kind != network.ModeContainer {
		steps = append(steps, plan.Step{
			Op: "write", Object: r.file(""), Args: []plan.Arg{plan.A("files", hostFiles)}, Why: "to be bound into the box's /etc",
			Do: func() error { return r.writeHostFiles(n) },
		})
	}
	return plan.Phase{Name: "make the box's folders", Steps: steps}
}

// dataStep makes the folder that the layer is in. A box that is started again has one, and keeps it.
func (r *Record) dataStep() plan.Step {
	home, made := r.data(""), false
	return plan.Step{
		Op: "mkdir", Object: home, Args: []plan.Arg{plan.A("mode", "0700")}, Why: "what may grow large: the box's layer, and its log",
		Do: func() error {
			if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
				return err
			}
			err := os.Mkdir(home, 0o700)
			made = err == nil
			if errors.Is(err, os.ErrExist) {
				return nil
			}
			return err
		},
		Undo: func() error {
			if !made {
				return nil
			}
			return os.RemoveAll(home)
		},
	}
}

// Explain gives the plans that running the options would carry out, in their order: the box's own, and the engine's, whose
// steps are numbered as the errors of a real run number them. It changes nothing but that an image's layers are unpacked.
func (h *Home) Explain(ctx context.Context, o Options, progress image.Progress) ([]*plan.Plan, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	name := o.Name
	if name == "" {
		name = newName()
	}
	r := &Record{ID: newID(), Name: name, Options: o, home: h}
	if o.Rootfs != "" {
		if err := r.useFolder(); err != nil {
			return nil, err
		}
	} else {
		store, err := h.Images()
		if err != nil {
			return nil, err
		}
		lower, config, err := store.Layers(ctx, o.Image, progress)
		if err != nil {
			return nil, err
		}
		r.Lower, r.ImageConfig, r.Root.Mode = lower, config.Config, 0o755
	}
	if err := errors.Join(r.setCommand(), r.takeVolumes()); err != nil {
		return nil, err
	}
	n, err := r.planNetwork(ctx)
	if err != nil {
		return nil, err
	}
	s, err := r.spec(n)
	if err != nil {
		return nil, err
	}
	engine, err := h.Engine().PlanRun(s)
	if err != nil {
		return nil, err
	}
	own := plan.New("prepare box " + r.Name)
	own.Phases = []plan.Phase{r.folders(n)}
	return []*plan.Plan{own, engine}, nil
}

// Streams are a box's, and what its keeper tells of.
type Streams struct {
	Stdin, Stdout, Stderr *os.File
	Console               func(master *os.File) error // with a terminal, in the place of the three
	ConsoleSize           [2]uint16                   // rows, columns; 0 is unknown
	Observe               func(*plan.Step)            // may be nil
	Warn                  func(format string, args ...any)
}

// Start carries the plans out. The process is this one's child, so that it can be waited for. If it fails, all but the
// record is undone.
func (r *Record) Start(ctx context.Context, t Streams) (*container.Process, error) {
	n, err := r.planNetwork(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := r.lockLayer()
	if err != nil {
		return nil, err
	}
	defer unlock()
	own := plan.New("prepare box " + r.Name)
	own.Phases = []plan.Phase{r.folders(n)}
	own.Observe = t.Observe
	done, err := own.Run(ctx)
	if err != nil {
		return nil, err
	}
	p, err := r.start(ctx, n, t)
	if err != nil {
		return nil, errors.Join(err, done.Undo())
	}
	r.tell("start")
	return p, nil
}
