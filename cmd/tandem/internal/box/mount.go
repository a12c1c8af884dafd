package box

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ParseVolume reads the value of -v: SOURCE:TARGET[:OPTIONS]. There are no named volumes: a source is a path, from the
// working folder on if it is not absolute, and has to be there.
func ParseVolume(text string) (specs.Mount, error) {
	bad := func(format string, args ...any) (specs.Mount, error) {
		return specs.Mount{}, wrong("--volume %q: %s", text, fmt.Sprintf(format, args...))
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
		return bad("want SOURCE:TARGET, or SOURCE:TARGET:ro")
	}
	var options []string
	if len(parts) == 3 {
		options = strings.Split(parts[2], ",")
	}
	m, err := bindMount(parts[0], parts[1], options)
	if errors.Is(err, fs.ErrNotExist) && !strings.Contains(parts[0], "/") {
		return bad("%v; there are no volumes with names: the source is a file or folder of this machine", err)
	}
	if err != nil {
		return bad("%v", err)
	}
	return m, nil
}

// bindOptions are those that docker knows, with what they are to the engine.
var bindOptions = map[string][]string{
	"rw": nil, "ro": {"ro", "rro"}, "readonly": {"ro", "rro"}, // of all that is mounted below, as docker has it since 25
	"z": nil, "Z": nil, // SELinux labels: nothing without SELinux
	"private": {"private"}, "rprivate": {"rprivate"}, "slave": {"slave"}, "rslave": {"rslave"}, "shared": {"shared"}, "rshared": {"rshared"},
	"nosuid": {"nosuid"}, "nodev": {"nodev"}, "noexec": {"noexec"},
}

func bindMount(source, target string, options []string) (specs.Mount, error) {
	if !path.IsAbs(target) || path.Clean(target) == "/" {
		return specs.Mount{}, fmt.Errorf("target %q: want an absolute path, and not the root", target)
	}
	source, err := filepath.Abs(source)
	if err != nil {
		return specs.Mount{}, err
	}
	if _, err := os.Stat(source); err != nil {
		return specs.Mount{}, err
	}
	m := specs.Mount{Type: "bind", Source: source, Destination: path.Clean(target), Options: []string{"rbind"}}
	propagation := false
	for _, o := range options {
		mine, ok := bindOptions[o]
		if !ok {
			return m, fmt.Errorf("option %q is unknown", o)
		}
		m.Options = append(m.Options, mine...)
		propagation = propagation || strings.HasSuffix(o, "private") || strings.HasSuffix(o, "slave") || strings.HasSuffix(o, "shared")
	}
	if !propagation {
		m.Options = append(m.Options, "rprivate")
	}
	return m, nil
}

// ParseMount reads the value of --mount: words with commas between them, as docker spells them.
func ParseMount(text string) (specs.Mount, error) {
	bad := func(format string, args ...any) (specs.Mount, error) {
		return specs.Mount{}, wrong("--mount %q: %s", text, fmt.Sprintf(format, args...))
	}
	words, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return bad("%v", err)
	}
	kind, source, target := "bind", "", ""
	var options, tmpfs []string
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "type":
			kind = value
		case "src", "source":
			source = value
		case "dst", "destination", "target":
			target = value
		case "ro", "readonly":
			if value == "" || value == "true" || value == "1" {
				options = append(options, "ro")
			}
		case "bind-propagation":
			options = append(options, value)
		case "tmpfs-size":
			tmpfs = append(tmpfs, "size="+value)
		case "tmpfs-mode":
			tmpfs = append(tmpfs, "mode="+value)
		default:
			return bad("%q is none of type, source, target, readonly, bind-propagation, tmpfs-size, tmpfs-mode", key)
		}
	}
	var m specs.Mount
	switch kind {
	case "bind":
		if len(tmpfs) > 0 {
			return bad("%s is an option of a tmpfs", tmpfs[0])
		}
		m, err = bindMount(source, target, options)
	case "tmpfs":
		m, err = tmpfsMount(target, append(tmpfs, options...))
	default:
		return bad("type %q: want bind or tmpfs", kind)
	}
	if err != nil {
		return bad("%v", err)
	}
	return m, nil
}

// ParseTmpfs reads the value of --tmpfs: TARGET[:OPTIONS].
func ParseTmpfs(text string) (specs.Mount, error) {
	target, list, _ := strings.Cut(text, ":")
	var options []string
	if list != "" {
		options = strings.Split(list, ",")
	}
	m, err := tmpfsMount(target, options)
	if err != nil {
		return m, wrong("--tmpfs %q: %v", text, err)
	}
	return m, nil
}

func tmpfsMount(target string, options []string) (specs.Mount, error) {
	if !path.IsAbs(target) || path.Clean(target) == "/" {
		return specs.Mount{}, fmt.Errorf("target %q: want an absolute path, and not the root", target)
	}
	usual := []string{"nosuid", "nodev", "noexec"}
	for _, o := range options { // what is asked for goes before what is usual
		if i := slices.Index(usual, "no"+o); i >= 0 {
			usual = slices.Delete(usual, i, i+1)
		}
	}
	return specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: path.Clean(target), Options: append(usual, options...)}, nil
}

const defaultShm = 64 << 20

// usualMounts are what a program expects to find below /proc, /dev and /sys.
func (o *Options) usualMounts() []specs.Mount {
	shm := o.ShmSize
	if shm == 0 {
		shm = defaultShm
	}
	const nosuid, noexec, nodev = "nosuid", "noexec", "nodev"
	kernel := []string{nosuid, noexec, nodev, "ro"} // what changes the host's kernel
	if o.Privileged {
		kernel[3] = "rw"
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{nosuid, noexec, nodev}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{nosuid, "strictatime", "mode=755", "size=65536k"}},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{nosuid, noexec, "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
		},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: kernel},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: kernel},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{nosuid, noexec, nodev}},
		{
			Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{nosuid, noexec, nodev, "mode=1777", fmt.Sprintf("size=%d", shm)},
		},
	}
}

// mounts are all of a box's: the usual ones, the box's own files, and the user's, each in the place of one before with
// the same target, and what lies deeper after what it lies in.
func (r *Record) mounts(files []specs.Mount) []specs.Mount {
	var all []specs.Mount
	for _, m := range slices.Concat(r.Options.usualMounts(), files, r.Options.Mounts) {
		all = slices.DeleteFunc(all, func(old specs.Mount) bool { return old.Destination == m.Destination })
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	return all
}
