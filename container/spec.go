package container

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tandem/container/rootfs"
	"tandem/internal/plan"
)

// Spec is what is wanted: a container, before anything of it is there. It can be checked, printed as a plan
// ([Spec.Plan]) and carried out ([Engine.Create]).
type Spec struct {
	// ID names the container among those of its engine: 1 to 1024 of the characters A-Z a-z 0-9 _ + - . , not "." or "..".
	ID string
	// Bundle is the absolute path of the folder that paths in the configuration are relative to.
	Bundle string
	// Config is the configuration, as the OCI runtime specification defines config.json.
	Config *specs.Spec
	// Text is the configuration as it was read, if it was: then it need not be encoded again to be kept.
	Text []byte
	// Overlay, if not nil, makes the root file system of layers, in place of Config.Root.Path.
	Overlay *rootfs.Overlay

	// Stdin, Stdout and Stderr are the process's. Nil is this process's own. They are not used with a terminal.
	Stdin, Stdout, Stderr *os.File
	// ConsoleSocket is the path of a Unix socket that the terminal's master is sent to, if Config.Process.Terminal.
	ConsoleSocket string
	// Console gets the terminal's master instead, if there is no ConsoleSocket.
	Console func(master *os.File) error
	// PreserveFDs is the number of this process's descriptors from 3 on that the process inherits.
	PreserveFDs int
	// PIDFile is where the process's number is written, if it is not empty.
	PIDFile string
	// NoPivot changes the root by moving it onto "/" and chroot(2), for roots on a ramfs. It protects less.
	NoPivot bool
	// NoNewKeyring leaves the process its parent's session keyring.
	NoNewKeyring bool
	// Init, if not empty, is the host's path of a static program that becomes the container's first process, under the name
	// InitName and with the command as its arguments: it starts that, passes signals on, and reaps what nobody waits for.
	Init string
	// Notify gives the process a socket to tell its state to, by sd_notify(3), see [Container.Notify].
	Notify bool
	// Prepare, if not nil, gives steps of the caller's that are taken when the process is in its namespaces, and before
	// anything else: a network, say. The number that it is given is the process's when the steps run.
	Prepare func(pid *int) []plan.Phase
	// Observe, if not nil, is told of each of the parent's steps before it is taken.
	Observe func(*plan.Step)
	// Warn, if not nil, is told what is not done that was asked for, and does no harm.
	Warn func(format string, args ...any)
}

// ExecSpec is one more process for a container that runs.
type ExecSpec struct {
	Process       *specs.Process
	Stdin, Stdout *os.File
	Stderr        *os.File
	ConsoleSocket string
	Console       func(master *os.File) error
	PreserveFDs   int
	PIDFile       string
	// Cgroups are the groups below the container's that the process is put into, by their paths: one for the key "", or one
	// for each controller of version 1 that is named. They have to be there. None is the container's own group.
	Cgroups map[string]string
	path    string // of the command's file, if it is not its first argument

	// IgnorePaused starts it in a container that is paused, where it waits.
	IgnorePaused bool
}
