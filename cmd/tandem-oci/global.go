package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/userns"
	"github.com/spf13/pflag"

	"tandem/container"
)

// global is what stands before the verb, and holds for every one.
type global struct {
	root, logPath, logFormat, logLevel string
	debug, systemd                     bool
	manager, rootless, criu            string

	log logger
}

func (g *global) register(flags *pflag.FlagSet) {
	flags.StringVar(&g.root, "root", "",
		"keep the containers' state in `DIR` (default "+rootOfRoot+", or below XDG_RUNTIME_DIR)")
	flags.StringVar(&g.logPath, "log", "", "add log messages to `FILE`, not to stderr")
	flags.StringVar(&g.logFormat, "log-format", "text", "write the log as `text|json`")
	flags.StringVar(&g.logLevel, "log-level", "", "log what is as grave as `LEVEL`: debug, info, warning or error")
	flags.BoolVar(&g.debug, "debug", false, "log everything")
	flags.StringVar(&g.manager, "cgroup-manager", "cgroupfs", "make cgroups by way of `MANAGER`: cgroupfs is the only one")
	flags.BoolVar(&g.systemd, "systemd-cgroup", false, "have systemd make cgroups: not supported")
	flags.StringVar(&g.rootless, "rootless", "auto", "`true|false|auto`: taken for runc's sake, auto is what it does")
	flags.StringVar(&g.criu, "criu", "", "taken for runc's sake, there are no checkpoints")
	_ = flags.MarkHidden("criu")
}

// prepare checks what the flags say, before the verb does anything.
func (g *global) prepare(verb string) error {
	g.log.shared = verb == "create" || verb == "run" || verb == "exec"
	if err := g.log.open(g.logPath, g.logFormat, g.logLevel, g.debug); err != nil {
		return err
	}
	switch {
	case g.systemd || g.manager == "systemd":
		return fmt.Errorf("systemd's cgroup driver: %w: use cgroupfs (podman: cgroup_manager=\"cgroupfs\" in "+
			"containers.conf; containerd: SystemdCgroup = false)", container.ErrNotSupported)
	case g.manager == "disabled":
		return fmt.Errorf("--cgroup-manager disabled: %w: every container has a cgroup", container.ErrNotSupported)
	case g.manager != "cgroupfs":
		return fmt.Errorf("--cgroup-manager %q: want cgroupfs", g.manager)
	}
	switch g.rootless {
	case "true", "false", "auto":
	default:
		return fmt.Errorf("--rootless %q: want true, false or auto", g.rootless)
	}
	return nil
}

// rootOfRoot is where the state is kept for root.
const rootOfRoot = "/run/tandem-oci"

// engine is the one whose state is in the folder that the flags name.
func (g *global) engine() (*container.Engine, error) {
	root := g.root
	if root == "" {
		var err error
		if root, err = defaultRoot(); err != nil {
			return nil, err
		}
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("--root: %w", err)
	}
	return &container.Engine{Root: root, Warn: g.log.warningf}, nil
}

// defaultRoot is a folder on a tmpfs, as the state must not outlive the machine's run. Root in a user namespace is a
// user outside of it, who has no rights in /run.
func defaultRoot() (string, error) {
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	rootless := os.Geteuid() != 0 || userns.RunningInUserNS()
	switch {
	case !rootless || runtime == "" && os.Geteuid() == 0:
		return rootOfRoot, nil
	case runtime == "":
		return "", errors.New("no folder for the containers' state: give --root, or set XDG_RUNTIME_DIR")
	}
	root := filepath.Join(runtime, "tandem-oci")
	if err := os.Mkdir(root, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make a folder for the containers' state: %w", err)
	}
	// The XDG base directory specification lets a system clear away old files there, but for sticky ones.
	if err := os.Chmod(root, 0o700|os.ModeSticky); err != nil {
		return "", fmt.Errorf("make a folder for the containers' state: %w", err)
	}
	return root, nil
}

// load finds a container by its ID.
func (g *global) load(id string) (*container.Container, error) {
	e, err := g.engine()
	if err != nil {
		return nil, err
	}
	return e.Load(id)
}
