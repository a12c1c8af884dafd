package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tandem/cmd/tandem/internal/machine"
	"tandem/vmm"
	"tandem/vmm/trace"
)

// vmRunFlags are the flags of `tandem vm run` as they were typed.
type vmRunFlags struct {
	name      string
	named     bool // it was typed
	cpus      int
	memory    sizeValue
	hugePages *choiceValue
	accel     *choiceValue
	timeout   time.Duration

	kernel   string
	modules  string
	initrd   string
	cmdline  string
	protocol *choiceValue
	verbose  bool

	disks     []string
	nets      []string
	publish   []string
	elsewhere []string
	shares    []string
	vsock     string
	ports     []string
	balloon   string
	transport *choiceValue
	rng       bool
	console   string

	consoleDevice *choiceValue

	tty bool
	env []string
	add []string

	trace       string
	traceFormat *choiceValue
	traceFile   string
	json        bool
}

// Words of flags that are decided upon elsewhere too.
const (
	accelAuto = "auto"
	accelKVM  = "kvm"
	accelLab  = "lab"

	consoleAuto  = "auto"
	consoleStdio = "stdio"
	consoleNone  = "none"

	initrdNone = "none"
)

func (f *vmRunFlags) register(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.SetInterspersed(false) // flags behind the command are the command's

	f.memory = 512 << 20
	flags.StringVar(&f.kernel, "kernel", "", "kernel: a bzImage or vmlinux `FILE`, or a name of `tandem kernel ls` (default: its default)")
	flags.StringVar(&f.modules, "modules", "", "the kernel's /lib/modules/RELEASE `FOLDER`, for a kernel that is a file")
	flags.StringVar(&f.initrd, "initrd", "", "initial RAM disk `FILE` in the place of tandem's own, or none")
	flags.StringVar(&f.cmdline, "append", "", "`WORDS` to add to the kernel's command line")
	f.protocol = newChoice("auto", "linux64", "decompressor", "pvh")
	flags.Var(f.protocol, "protocol", "how the kernel is entered")
	flags.IntVar(&f.cpus, "cpus", 1, "`NUMBER` of vCPUs")
	flags.Var(&f.memory, "memory", "memory, in bytes or with K, M, G")
	f.hugePages = newChoice("no", "2M", "1G")
	flags.Var(f.hugePages, "hugepages", "back memory with pages of this size from the host's pool")
	flags.StringArrayVar(&f.disks, "disk", nil, "`PATH[,ro][,serial=S][,queues=N]` of a raw image or block device; again for more")
	flags.StringArrayVar(&f.nets, "net", nil, "network card: `WHERE[,OPTION...]`, WHERE bridge, bridge=NAME or tap=NAME; see above; again for more")
	flags.StringArrayVarP(&f.publish, "publish", "p", nil, "let the host's port lead to the guest's, `[ADDRESS:]PORT:PORT[/udp]`, by the first card on a bridge")
	flags.StringArrayVar(&f.elsewhere, "vhost-user", nil, "device that another process serves: `KIND,socket=PATH`[,queues=N][,tag=T], KIND blk, net or fs; again for more")
	flags.StringArrayVar(&f.shares, "share", nil, "`FOLDER:TAG[:ro]` of this machine, which the guest finds as /mnt/TAG (by virtiofsd); again for more")
	flags.StringVar(&f.vsock, "vsock", "", "sockets between host and guest (AF_VSOCK): `cid=N,uds=PATH`, by a Unix socket (CONNECT PORT), or cid=N,vhost, the kernel's")
	f.transport = newChoice(string(vmm.PCI), string(vmm.MMIO))
	flags.Var(f.transport, "transport", "how virtio devices are plugged in")
	flags.BoolVar(&f.rng, "rng", true, "give the guest entropy by virtio-rng")
	flags.StringVar(&f.console, "console", consoleAuto, "where the first serial port goes: stdio, none, or a `FILE`; stdio without a command")
	f.consoleDevice = newChoice(consoleSerial, consoleVirtio)
	flags.Var(f.consoleDevice, "console-device", "what the console's shell is behind: the first serial port, or a virtio console (hvc0), which follows the terminal's size")
	flags.StringArrayVar(&f.ports, "port", nil, "byte stream between host and guest, a virtio-serial port: `name=NAME,socket=PATH` listens for clients, name=NAME,file=PATH keeps what the guest sends; again for more")
	flags.StringVar(&f.balloon, "balloon", "", "memory balloon that takes `SIZE` from the guest at first, 0 for none: see tandem vm balloon")
	flags.StringVar(&f.name, "name", "tandem", "the guest's host name, and its `NAME` in messages and in the list of VMs")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "`KEY=VALUE` for the command's environment, or KEY for this process's value")
	flags.StringArrayVar(&f.add, "add", nil, "`FILE[:PATH]` or folder to put into the guest, at /FILE if no PATH is given")
	f.accel = newChoice(accelAuto, accelKVM, accelLab)
	flags.Var(f.accel, "accel", "run on this host's KVM, or in the lab: a machine that QEMU emulates")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop the guest after this `TIME`, such as 30s")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "let the kernel print all it has to say while it boots")
	flags.StringVar(&f.trace, "trace", "", "print what happens, as it happens: `KINDS` of kvm,exits,bus,virtio or all")
	f.traceFormat = newChoice(string(trace.Text), string(trace.JSON))
	flags.Var(f.traceFormat, "trace-format", "how the trace is written")
	flags.StringVar(&f.traceFile, "trace-file", "", "write the trace to `FILE` (default: standard error)")
	flags.BoolVar(&f.json, "json", false, "say on standard error how the guest ended, as JSON")
}

// flagError is a value that a flag does not take.
func flagError(flag, value string, reason any) error {
	return fmt.Errorf("invalid argument %q for %q: %v", value, "--"+flag, reason)
}

// disk is what one --disk asks for.
type disk struct {
	Path     string `json:"path"`
	ReadOnly bool   `json:"read_only,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Queues   int    `json:"queues,omitempty"`
}

// checkDisk tells what can be told of a disk without opening it, before anything takes time: that it is there, and is a
// file or a block device.
func checkDisk(d disk) error {
	info, err := os.Stat(d.Path)
	if err != nil {
		return err
	}
	if mode := info.Mode(); !mode.IsRegular() && mode.Type() != fs.ModeDevice {
		return fmt.Errorf("neither a file nor a block device: %v", mode)
	}
	return nil
}

// parseDisk reads PATH[,ro][,serial=S][,queues=N]. The path is made absolute, as the lab has another working folder.
func parseDisk(text string) (disk, error) {
	bad := func(format string, args ...any) (disk, error) {
		return disk{}, flagError("disk", text, fmt.Errorf(format, args...))
	}
	words := strings.Split(text, ",")
	if words[0] == "" {
		return bad("no path")
	}
	file, err := filepath.Abs(words[0])
	if err != nil {
		return bad("%w", err)
	}
	d := disk{Path: file}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case word == "ro":
			d.ReadOnly = true
		case word == "rw":
			d.ReadOnly = false
		case key == "serial" && value != "":
			d.Serial = value
		case key == "queues":
			if d.Queues, err = strconv.Atoi(value); err != nil || d.Queues < 1 {
				return bad("%s: want a number from 1 on", word)
			}
		default:
			return bad("%q is none of ro, rw, serial=S, queues=N", word)
		}
	}
	return d, nil
}

// addition is what one --add asks for: a file or folder of the host, and its place in the guest.
type addition struct{ source, target string }

// parseAdd reads FILE[:PATH].
func parseAdd(text string) (addition, error) {
	source, target, given := strings.Cut(text, ":")
	if source == "" {
		return addition{}, flagError("add", text, "no file")
	}
	if !given {
		target = "/" + filepath.Base(source)
	}
	if !path.IsAbs(target) || path.Clean(target) == "/" {
		return addition{}, flagError("add", text, "the path in the guest is not absolute")
	}
	return addition{source, path.Clean(target)}, nil
}

// parseEnv reads KEY=VALUE, or KEY for the value in the environment. A key that is not there is left out.
func parseEnv(texts []string) ([]string, error) {
	var env []string
	for _, text := range texts {
		key, _, given := strings.Cut(text, "=")
		if key == "" {
			return nil, flagError("env", text, "want KEY=VALUE")
		}
		if value, ok := os.LookupEnv(key); !given && ok {
			text, given = key+"="+value, true
		}
		if given {
			env = append(env, text)
		}
	}
	return env, nil
}

var entries = map[string]vmm.Entry{
	"auto": vmm.EntryAuto, "linux64": vmm.EntryLong, "decompressor": vmm.EntryDecompress, "pvh": vmm.EntryPVH,
}

var hugePageSizes = map[string]uint64{"no": 0, "2M": vmm.HugePage2M, "1G": vmm.HugePage1G}

// check refuses what can be known to be wrong from the flags alone.
func (f *vmRunFlags) check(flags *pflag.FlagSet, command []string) error {
	if f.named = flags.Changed("name"); f.named {
		if err := machine.CheckName(f.name); err != nil {
			return flagError("name", f.name, err)
		}
	}
	if f.initrd != "" {
		var lost []string
		flags.Visit(func(flag *pflag.Flag) {
			if slices.Contains([]string{"add", "env", "modules", "tty"}, flag.Name) {
				lost = append(lost, "--"+flag.Name)
			}
		})
		if len(command) > 0 {
			lost = append(lost, "a command")
		}
		if len(lost) > 0 {
			return flagError("initrd", f.initrd, strings.Join(lost, ", ")+" needs tandem's own initial RAM disk")
		}
	}
	if f.tty && len(command) == 0 {
		return errors.New("--tty gives a terminal to a command, and there is none: the console has one by itself")
	}
	if f.timeout < 0 {
		return flagError("timeout", f.timeout.String(), "want a time from now on")
	}
	if f.trace == "" && (f.traceFile != "" || flags.Changed("trace-format")) {
		return errors.New("--trace-file and --trace-format say where a trace goes: --trace says what is traced")
	}
	if f.trace != "" {
		if _, err := trace.ParseSet(f.trace); err != nil {
			return flagError("trace", f.trace, "want kvm, exits, bus, virtio or all, with commas between them")
		}
	}
	return nil
}
