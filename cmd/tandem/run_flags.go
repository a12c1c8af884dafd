package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"tandem/cmd/tandem/internal/box"
	"tandem/network"
	"tandem/network/port"
)

// runFlags are the flags of `tandem run` and `tandem explain run`, as they were typed.
type runFlags struct {
	options box.Options
	rootfs  string
	limits  boxLimitFlags
	health  healthFlags
	shm     sizeValue

	volumes, mounts, tmpfs, publish []string
	expose                          []string
	env, envFiles, labelFiles       []string
	labels, sysctl                  []string
	ulimits, devices, security, dns []string
	entrypoint, network             string

	cidFile    string
	detachKeys keysFlag // of run alone
	pull       *choiceValue
	quiet      bool
	trace      bool
	json       bool
}

const (
	pullMissing = "missing"
	pullAlways  = "always"
	pullNever   = "never"

	defaultStopTimeout = 10
)

func (f *runFlags) register(flags *pflag.FlagSet) {
	o := &f.options
	flags.SortFlags = false
	flags.SetInterspersed(false) // flags behind the command are the command's

	flags.StringVar(&f.rootfs, "rootfs", "", "run on the files of `DIR` in the place of an image; nothing is written to them")
	flags.StringVar(&o.Name, "name", "", "the container's `NAME` (default: one that is easy to say)")
	flags.BoolVarP(&o.Interactive, "interactive", "i", false, "let the command read standard input")
	flags.BoolVarP(&o.TTY, "tty", "t", false, "give the command a terminal")
	flags.BoolVar(&o.Remove, "rm", false, "remove the container when it has ended")
	flags.BoolVarP(&o.Detach, "detach", "d", false, "leave the container running, and print its ID")

	f.limits.register(flags)
	flags.StringArrayVar(&f.ulimits, "ulimit", nil, "limit of one process, `NAME=SOFT[:HARD]`, such as nofile=1024")

	flags.StringArrayVarP(&f.volumes, "volume", "v", nil, "show a file or folder of the host in the container, `SOURCE:TARGET[:ro]`")
	flags.StringArrayVar(&f.mounts, "mount", nil, "the same in words, `type=bind|tmpfs,src=SOURCE,dst=TARGET[,ro]`")
	flags.StringArrayVar(&f.tmpfs, "tmpfs", nil, "an empty folder in memory at `TARGET[:size=64m,...]`")
	flags.StringArrayVar(&o.VolumesFrom, "volumes-from", nil, "have the volumes of another container, `CONTAINER[:ro]`")
	flags.BoolVar(&o.ReadOnly, "read-only", false, "let nothing be written to the root file system")
	flags.Var(&f.shm, "shm-size", "size of /dev/shm (default 64M)")
	flags.StringArrayVar(&f.devices, "device", nil, "let it use a device of the host, `/dev/SOURCE[:/dev/TARGET][:rwm]`")

	flags.StringArrayVarP(&f.env, "env", "e", nil, "`NAME=VALUE` for the environment, or NAME for this process's value")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "read such lines from `FILE`")
	flags.StringVarP(&o.User, "user", "u", "", "run as `USER[:GROUP]`, names or numbers of the container's own")
	flags.StringArrayVar(&o.Groups, "group-add", nil, "be in `GROUP` too")
	flags.StringVarP(&o.Workdir, "workdir", "w", "", "start in `DIR` of the container")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "`PROGRAM` in the place of the image's entrypoint; empty for none")
	flags.StringVarP(&o.Hostname, "hostname", "h", "", "the container's host `NAME` (default: the first 12 digits of its ID)")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "note on the container, `NAME=VALUE`")
	flags.StringArrayVar(&f.labelFiles, "label-file", nil, "read such lines from `FILE`")

	flags.StringVar(&f.network, "network", "", "`MODE`: bridge, none, host, container:NAME or ns:PATH (default bridge, which switches IP forwarding on; none for who is not root)")
	flags.StringVar(&f.network, "net", "", "")
	_ = flags.MarkHidden("net") // it exists
	flags.StringArrayVarP(&f.publish, "publish", "p", nil, "let the host's port lead to the container's, `[ADDRESS:]PORT:PORT[/udp]`")
	flags.BoolVarP(&o.PublishAll, "publish-all", "P", false, "let free ports of the host lead to all that the image and --expose name")
	flags.StringArrayVar(&f.expose, "expose", nil, "say that it listens on `PORT[-PORT][/udp]`")
	flags.StringArrayVar(&f.dns, "dns", nil, "`ADDRESS` of a name server, in the place of the host's")
	flags.StringArrayVar(&o.DNSSearch, "dns-search", nil, "`DOMAIN` to look names up in, in the place of the host's; . for none")
	flags.StringArrayVar(&o.DNSOptions, "dns-option", nil, "`OPTION` of resolv.conf, in the place of the host's")
	flags.VarPF(flags.Lookup("dns-option").Value, "dns-opt", "", "").Hidden = true // it exists
	flags.StringArrayVar(&o.AddHosts, "add-host", nil, "`NAME:ADDRESS` for /etc/hosts")

	flags.StringVar(&o.PID, "pid", "", "`WHOSE` processes it sees: host, container:NAME, or private, as is usual")
	flags.StringVar(&o.IPC, "ipc", "", "`WHOSE` System V and POSIX IPC it has: host, container:NAME, or private")
	flags.StringVar(&o.UTS, "uts", "", "`WHOSE` host name it has: host or private")

	flags.StringArrayVar(&o.CapAdd, "cap-add", nil, "add the capability `CAP`, or ALL")
	flags.StringArrayVar(&o.CapDrop, "cap-drop", nil, "take the capability `CAP` away, or ALL")
	flags.StringArrayVar(&f.security, "security-opt", nil, "`OPTION`: seccomp=FILE, seccomp=unconfined, apparmor=PROFILE, no-new-privileges")
	flags.StringArrayVar(&f.sysctl, "sysctl", nil, "set a kernel parameter of the container's namespaces, `NAME=VALUE`")
	flags.BoolVar(&o.Privileged, "privileged", false, "let it do all that root may do on the host: no filter, all devices, /sys to write to")
	flags.IntVar(&o.OOMScoreAdj, "oom-score-adj", 0, "whom the kernel kills first when memory runs out, -1000 to 1000")

	f.health.register(flags)
	flags.BoolVar(&o.Init, "init", false, "run the command below an init, which reaps what nobody waits for, and passes signals on")
	flags.StringVar(&o.StopSignal, "stop-signal", "", "`SIGNAL` by which `tandem stop` asks it to end (default: the image's, or TERM)")
	flags.IntVar(&o.StopTimeout, "stop-timeout", defaultStopTimeout, "`SECONDS` that it then has")
	flags.StringVar(&f.cidFile, "cidfile", "", "write the container's ID to `FILE`, which must not be there")
	f.pull = newChoice(pullMissing, pullAlways, pullNever)
	flags.Var(f.pull, "pull", "get the image from its registry")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress of that")
	flags.Bool("help", false, "print this") // without a letter: -h is the host name's, as with docker
}

// settle reads the flags' values. What is wrong is told with the flag.
func (f *runFlags) settle(flags *pflag.FlagSet, args []string) (*box.Options, error) {
	o := &f.options
	o.ShmSize = int64(f.shm)
	var err error
	if o.Limits, o.Restart, err = f.limits.settle(flags, o.Limits, o.Restart); err != nil {
		return nil, err
	}
	if o.Health, err = f.health.settle(flags); err != nil {
		return nil, err
	}
	if f.rootfs != "" {
		path, err := filepath.Abs(f.rootfs)
		if err != nil {
			return nil, err
		}
		o.Rootfs, o.Command = path, args
	} else if len(args) > 0 {
		o.Image, o.Command = args[0], args[1:]
		if len(o.Command) > 0 && o.Command[0] == "--" {
			o.Command = o.Command[1:]
		}
	}
	if flags.Changed("entrypoint") {
		o.Entrypoint = &f.entrypoint
	}
	for _, read := range []func() error{f.readMounts, f.readEnv, f.readPairs, f.readLimits, f.readNetwork} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	for _, text := range f.security {
		if err := o.SetSecurity(text); err != nil {
			return nil, err
		}
	}
	return o, o.Check()
}

func (f *runFlags) readMounts() error {
	for _, list := range []struct {
		texts []string
		parse func(string) (specs.Mount, error)
	}{{f.volumes, box.ParseVolume}, {f.mounts, box.ParseMount}, {f.tmpfs, box.ParseTmpfs}} {
		for _, text := range list.texts {
			m, err := list.parse(text)
			if err != nil {
				return err
			}
			f.options.Mounts = append(f.options.Mounts, m)
		}
	}
	return nil
}

func (f *runFlags) readEnv() (err error) {
	f.options.Env, err = readEnv(f.envFiles, f.env)
	return err
}

// readEnv reads what files say, and then what was typed.
func readEnv(files, typed []string) (all []string, err error) {
	for _, path := range files {
		lines, err := readEnvFile(path)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		env, err := parseEnv(lines)
		if err != nil {
			return nil, fmt.Errorf("--env-file %s: %w", path, err)
		}
		all = append(all, env...)
	}
	env, err := parseEnv(typed)
	return append(all, env...), err
}

// readEnvFile gives the lines that say something. Nothing in them is quoted or expanded.
func readEnvFile(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines []string
	s := bufio.NewScanner(file)
	for s.Scan() {
		line := strings.TrimLeft(s.Text(), " \t")
		if line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines, s.Err()
}

func (f *runFlags) readPairs() error {
	var labels []string
	for _, path := range f.labelFiles {
		lines, err := readEnvFile(path)
		if err != nil {
			return fmt.Errorf("--label-file: %w", err)
		}
		labels = append(labels, lines...)
	}
	f.labels = append(labels, f.labels...)
	for _, list := range []struct {
		flag  string
		texts []string
		to    *map[string]string
		bare  bool // NAME alone will do
	}{{"label", f.labels, &f.options.Labels, true}, {"sysctl", f.sysctl, &f.options.Sysctl, false}} {
		for _, text := range list.texts {
			name, value, given := strings.Cut(text, "=")
			if name == "" || !given && !list.bare {
				return flagError(list.flag, text, "want NAME=VALUE")
			}
			if *list.to == nil {
				*list.to = make(map[string]string)
			}
			(*list.to)[name] = value
		}
	}
	return nil
}

func (f *runFlags) readLimits() error {
	for _, text := range f.ulimits {
		limit, err := box.ParseUlimit(text)
		if err != nil {
			return err
		}
		f.options.Ulimits = append(f.options.Ulimits, limit)
	}
	for _, text := range f.devices {
		d, err := box.ParseDevice(text)
		if err != nil {
			return err
		}
		f.options.Devices = append(f.options.Devices, d)
	}
	return nil
}

func (f *runFlags) readNetwork() error {
	if f.network != "" {
		mode, err := network.ParseMode(f.network)
		if err != nil {
			return err
		}
		f.options.Network = &mode
	}
	for _, text := range f.publish {
		m, err := port.Parse(text)
		if err != nil {
			return flagError("publish", text, err)
		}
		f.options.Ports = append(f.options.Ports, m)
	}
	for _, text := range f.expose {
		ports, err := port.ParseExposed(text)
		if err != nil {
			return flagError("expose", text, err)
		}
		f.options.Exposed = append(f.options.Exposed, ports...)
	}
	for _, text := range f.dns {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return flagError("dns", text, "want an address")
		}
		f.options.DNS = append(f.options.DNS, a)
	}
	return nil
}
