package config

import (
	"math"
	"strconv"
	"strings"
)

// Path is where the guest's init finds its Config.
const Path = "/etc/tandem/init.json"

// BootTimerPort is the I/O port that tells tandem's monitor that init has been reached.
const BootTimerPort = 0x610

// MaxSize bounds the document, in bytes.
const MaxSize = 1 << 20

// Config is everything that init is told. The zero value mounts the pseudo file systems and then waits for a signal.
type Config struct {
	// Hostname is set if it is not empty. At most 64 bytes.
	Hostname string `json:"hostname,omitempty"`
	// Env is laid over the default environment of everything that init and the agent start: KEY=VALUE.
	Env []string `json:"env,omitempty"`
	// Modules are loaded first of all, in this order. One that fails is reported on the console, and init goes on.
	Modules []Module `json:"modules,omitempty"`
	// BootTimerPort is an I/O port that init writes the byte 1 to as soon as it can. 0 writes none.
	BootTimerPort uint16 `json:"boot_timer_port,omitempty"`
	// Root is a root file system to go to from the initramfs. Nil stays on the initramfs.
	Root *Root `json:"root,omitempty"`
	// Mounts are made in this order after the pseudo file systems, and in the new root if there is one.
	Mounts []Mount `json:"mounts,omitempty"`
	// Agent serves commands from the host. Nil runs no agent.
	Agent *Agent `json:"agent,omitempty"`
	// Console runs a program on the console. Nil leaves the console to the kernel's messages.
	Console *Console `json:"console,omitempty"`
}

// Module is a kernel module to load.
type Module struct {
	// Path is an uncompressed module file, absolute, in the initramfs.
	Path string `json:"path"`
	// Options are the module's parameters as modprobe.d writes them: "nested=1 avic=0".
	Options string `json:"options,omitempty"`
}

// Root is a read-only root file system that a host exports over 9p, made writable by an overlay on a tmpfs: what the
// guest writes is gone with it.
type Root struct {
	// Tag is the export's mount tag.
	Tag string `json:"tag"`
	// Options are the 9p mount options: "trans=virtio,version=9p2000.L,msize=512000,cache=none".
	Options string `json:"options"`
	// UpperSize is the size= of the tmpfs that takes the writes ("50%", "2g"). Empty is the kernel's half of the memory.
	UpperSize string `json:"upper_size,omitempty"`
}

// Mount is a file system to mount; init makes the folder.
type Mount struct {
	// Source is a device, a 9p tag, or the file system's own name for those that have no source.
	Source string `json:"source"`
	// Target is absolute.
	Target string `json:"target"`
	// Type is the file system's name, or "bind" or "rbind".
	Type string `json:"type"`
	// Options are comma-separated, as mount(8) takes them: flags (ro, nosuid, nodev, noexec, noatime, ...) and data.
	Options string `json:"options,omitempty"`
	// Optional says that init goes on silently where the kernel does not know the file system or the source is missing.
	Optional bool `json:"optional,omitempty"`
}

// Agent says where the host talks to the agent.
type Agent struct {
	// Port is a terminal line's path ("/dev/ttyS1"), or a port of the host's that the guest connects to over AF_VSOCK
	// ("vsock:1024"), or the name that the host gave a virtio-serial port ("tandem.agent"; /sys/class/virtio-ports/*/name).
	// It may appear late: init waits for it.
	Port string `json:"port"`
	// OnDisconnect is what pid 1 does when the host's session on the port ends.
	// Empty means Stay: the agent waits for the next one.
	OnDisconnect Action `json:"on_disconnect,omitempty"`
}

// vsockPrefix begins a Port that is one of the host's sockets.
const vsockPrefix = "vsock:"

// VsockPort is the Port of an agent that connects to a port of the host's.
func VsockPort(port uint32) string { return vsockPrefix + strconv.FormatUint(uint64(port), 10) }

// Vsock is the port of the host's that the agent connects to, if it is reached so.
func (a *Agent) Vsock() (port uint32, ok bool) {
	text, ok := strings.CutPrefix(a.Port, vsockPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}

// Console is a program with the console as its controlling terminal.
type Console struct {
	// Command is the program and its arguments: ["/bin/sh", "-l"].
	Command []string `json:"command"`
	// Device is the terminal's path. Empty means the one behind /dev/console.
	Device string `json:"device,omitempty"`
	// Rows and Cols are the terminal's size, which a serial line cannot tell. 0 leaves it.
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
	// OnExit is what pid 1 does when the program ends. Empty means PowerOff.
	OnExit Action `json:"on_exit,omitempty"`
}

// Action is what pid 1 does when something that it ran has ended.
type Action string

// The actions. Stay means to go on: a console program is started again, a port is opened again.
const (
	PowerOff Action = "poweroff"
	Reboot   Action = "reboot"
	Stay     Action = "stay"
)

// Limits that Validate holds.
const (
	maxHostname = 64 // __NEW_UTS_LEN of linux/utsname.h
	maxList     = math.MaxUint16
)

// Default is what init does in an initramfs that has no Config: a shell on the console.
func Default() Config {
	return Config{
		Hostname:      "tandem",
		BootTimerPort: BootTimerPort,
		Console:       &Console{Command: []string{"/bin/sh"}, OnExit: PowerOff},
	}
}

// ModulesAt is the modules at the given paths without options.
func ModulesAt(paths ...string) []Module {
	modules := make([]Module, len(paths))
	for i, path := range paths {
		modules[i].Path = path
	}
	return modules
}
