package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"tandem/container"
	"tandem/internal/kernfile"
)

// bundleFlags are those of the verbs that make a container: create and run.
type bundleFlags struct {
	bundle, config                      string
	consoleSocket, pidFile, pidfdSocket string
	noPivot, noNewKeyring, noSubreaper  bool
	preserveFDs                         int
}

func (f *bundleFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.bundle, "bundle", "b", ".", "make the container of the bundle in `DIR`")
	flags.StringVarP(&f.config, "config", "f", "config.json", "read the configuration from `FILE` of the bundle")
	flags.StringVar(&f.consoleSocket, "console-socket", "", "send the terminal's master to the Unix socket `PATH`")
	flags.StringVar(&f.pidFile, "pid-file", "", "write the process's number to `FILE`")
	flags.StringVar(&f.pidfdSocket, "pidfd-socket", "", "send a descriptor of the process to the Unix socket `PATH`")
	flags.BoolVar(&f.noPivot, "no-pivot", false, "move the root rather than pivot it: for a root on a ramdisk, less safe")
	flags.BoolVar(&f.noNewKeyring, "no-new-keyring", false, "keep the caller's session keyring")
	flags.BoolVar(&f.noSubreaper, "no-subreaper", false, "taken for runc's sake: tandem-oci never is a subreaper")
	flags.IntVar(&f.preserveFDs, "preserve-fds", 0, "pass on `N` descriptors, from 3 on (behind those of LISTEN_FDS)")
}

// spec is the container that the flags ask for.
func (f *bundleFlags) spec(id string, log *logger) (*container.Spec, error) {
	bundle, err := filepath.Abs(f.bundle)
	if err != nil {
		return nil, fmt.Errorf("--bundle: %w", err)
	}
	path := f.config
	if !filepath.IsAbs(path) {
		path = filepath.Join(bundle, path)
	}
	config, text, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	fds, err := preservedFDs(f.preserveFDs)
	if err != nil {
		return nil, err
	}
	if config.Process != nil {
		fds.announce(config.Process)
	}
	return &container.Spec{
		ID: id, Bundle: bundle, Config: config, Text: text,
		ConsoleSocket: f.consoleSocket, PIDFile: f.pidFile, PreserveFDs: fds.total,
		NoPivot: f.noPivot, NoNewKeyring: f.noNewKeyring, Warn: log.warningf,
		Observe: log.observer(), Notify: os.Getenv(notifyVariable) != "",
	}, nil
}

// readConfig reads the configuration of a bundle, and gives its text too. What it says is for the engine to check.
func readConfig(path string) (config *specs.Spec, text []byte, err error) {
	f, err := kernfile.Open(path, unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w (a bundle has one; `tandem-oci spec` writes a first one)", err)
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if text, err = readText(f); err == nil {
		config, err = container.ParseConfig(text)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, jsonError(err))
	}
	return config, text, nil
}

// maxJSON is more than a configuration has, and less than the memory that a hostile one could ask for.
const maxJSON = 16 << 20

var errTooLong = fmt.Errorf("longer than %d MiB", maxJSON>>20)

// decode reads one JSON object and nothing behind it. Fields that are not known are left out, as the specification wants
// it ("Extensibility").
func decode(r io.Reader, v any) error {
	text, err := readText(r)
	if err != nil {
		return err
	}
	return jsonError(json.Unmarshal(text, v))
}

func readText(r io.Reader) ([]byte, error) {
	var text bytes.Buffer
	text.Grow(16 << 10) // most are shorter
	_, err := text.ReadFrom(io.LimitReader(r, maxJSON+1))
	if err == nil && text.Len() > maxJSON {
		err = fmt.Errorf("%w: %w", container.ErrInvalid, errTooLong)
	}
	return text.Bytes(), err
}

// jsonError says what encoding/json says in the words of the specification.
func jsonError(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("%w: %s is a %s, want %s", container.ErrInvalid, kind.Field, kind.Value, kind.Type)
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: at byte %d: %w", container.ErrInvalid, syntax.Offset, err)
	}
	return err
}

// passedFDs are the descriptors that a container's process inherits beside its standard streams.
type passedFDs struct {
	total  int
	listen int // how many of them, the first, are sockets that systemd has opened: sd_listen_fds(3)
}

// preservedFDs counts them: those that LISTEN_FDS names and n more.
func preservedFDs(n int) (passedFDs, error) {
	if n < 0 {
		return passedFDs{}, fmt.Errorf("--preserve-fds %d: want a number of descriptors", n)
	}
	listen, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID"))
	if listen < 0 || pid != 0 && pid != os.Getpid() {
		listen = 0 // they were for another process, whose environment this one has
	}
	return passedFDs{total: n + listen, listen: listen}, nil
}

// announce tells the process of the sockets as systemd would. It is to be pid 1, whatever LISTEN_PID was outside.
func (f passedFDs) announce(p *specs.Process) {
	if f.listen == 0 {
		return
	}
	p.Env = append(p.Env, "LISTEN_FDS="+strconv.Itoa(f.listen), "LISTEN_PID=1")
	if names := os.Getenv("LISTEN_FDNAMES"); names != "" {
		p.Env = append(p.Env, "LISTEN_FDNAMES="+names)
	}
}
