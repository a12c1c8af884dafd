package image

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"tandem/container/image/compress"
	"tandem/container/image/layer"
)

// A helper works as root of a user namespace for a user who is not: it alone can give files to the user's further IDs,
// and remove what belongs to them. It is this same program, begun anew under another name.
type helper struct{ ids *idMaps }

// helperName is what the program is called then.
const helperName = "tandem-layer-helper"

// Whichever program has this package in it can be its helper.
func init() {
	if len(os.Args) > 0 && os.Args[0] == helperName {
		os.Exit(helperMain())
	}
}

// helperJob is what the helper reads, once it may begin.
type helperJob struct {
	Unpack  *unpackJob `json:"unpack,omitempty"`
	Parents []string   `json:"parents,omitempty"` // of Unpack, as lines of a list: a path may hold any byte
	Remove  string     `json:"remove,omitempty"`  // a folder
}

// helperWord is what it writes, any number of times; the last one has a result or an error.
type helperWord struct {
	Read   int64         `json:"read,omitempty"` // bytes since the last word
	Result *layer.Result `json:"result,omitempty"`
	Error  string        `json:"error,omitempty"`
	Kinds  []int         `json:"kinds,omitempty"` // which of helperErrors it is
}

// helperErrors are those that callers tell apart.
var helperErrors = []error{
	ErrFormat, ErrDigest, ErrTooLarge, ErrMissing, compress.ErrCorrupt, os.ErrPermission, unix.ENOSPC,
	layer.ErrEscape, layer.ErrName, layer.ErrDuplicate, layer.ErrDevice, layer.ErrArchive,
}

// helperError is an error that came from another process.
type helperError struct {
	text  string
	kinds []error
}

func (e *helperError) Error() string   { return e.text }
func (e *helperError) Unwrap() []error { return e.kinds }

func (h *helper) unpack(ctx context.Context, job unpackJob, spend func(int64) error, progress func(int64)) (
	layer.Result, error,
) {
	var parents []string
	for _, e := range job.Parents {
		parents = append(parents, string(e.AppendText(nil)))
	}
	job.Parents = nil
	result, err := h.run(ctx, helperJob{Unpack: &job, Parents: parents}, progress)
	if err != nil {
		return layer.Result{}, err
	}
	return result, spend(result.Bytes)
}

func (h *helper) remove(path string) error {
	_, err := h.run(context.Background(), helperJob{Remove: path}, func(int64) {})
	return err
}

// run starts the helper in a user namespace, has its IDs mapped, and gives it a job. The helper waits for the job, and
// so for its IDs; and it ends if its standard input does, which is when this process dies.
func (h *helper) run(ctx context.Context, job helperJob, progress func(int64)) (result layer.Result, err error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{helperName}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER,
		// An exec takes the capabilities of whoever is not root inside, and nobody is yet; ambient ones stay.
		AmbientCaps: []uintptr{
			uintptr(capability.CAP_SETUID), uintptr(capability.CAP_SETGID),
			uintptr(capability.CAP_CHOWN), uintptr(capability.CAP_FOWNER), uintptr(capability.CAP_FSETID),
			uintptr(capability.CAP_DAC_OVERRIDE), uintptr(capability.CAP_SETFCAP),
		},
	}
	var words strings.Builder
	cmd.Stderr = &words
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return result, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return result, err
	}
	if err := cmd.Start(); err != nil {
		return result, fmt.Errorf("start a helper in a user namespace: %w", err)
	}
	defer func() {
		stdin.Close()
		if e := cmd.Wait(); err == nil && e != nil {
			err = fmt.Errorf("helper in a user namespace: %w: %s", e, strings.TrimSpace(words.String()))
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	for _, m := range []struct {
		program string
		ids     []string
	}{{"newuidmap", h.ids.uids}, {"newgidmap", h.ids.gids}} {
		arguments := append([]string{strconv.Itoa(cmd.Process.Pid)}, m.ids...)
		if out, err := exec.CommandContext(ctx, m.program, arguments...).CombinedOutput(); err != nil {
			said := strings.TrimSpace(string(out))
			return result, fmt.Errorf("%s %s: %w: %s", m.program, strings.Join(arguments, " "), err, said)
		}
	}
	if err := json.NewEncoder(stdin).Encode(job); err != nil {
		return result, fmt.Errorf("helper in a user namespace: %w: %s", err, strings.TrimSpace(words.String()))
	}
	for answers := json.NewDecoder(bufio.NewReader(stdout)); ; {
		var w helperWord
		switch err := answers.Decode(&w); {
		case errors.Is(err, io.EOF):
			return result, fmt.Errorf("helper in a user namespace: no answer: %s", strings.TrimSpace(words.String()))
		case err != nil:
			return result, fmt.Errorf("helper in a user namespace: %w", err)
		case w.Error != "":
			e := &helperError{text: w.Error}
			for _, k := range w.Kinds {
				if k >= 0 && k < len(helperErrors) {
					e.kinds = append(e.kinds, helperErrors[k])
				}
			}
			return result, e
		case w.Result != nil:
			return *w.Result, nil
		}
		progress(w.Read)
	}
}

// helperMain is the helper itself.
func helperMain() int {
	out := json.NewEncoder(os.Stdout)
	in := json.NewDecoder(os.Stdin)
	var job helperJob
	if err := in.Decode(&job); err != nil { // the caller gave up
		return 1
	}
	var answered atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, in.Buffered())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the caller has died, or has read the answer
		if answered.Load() {
			os.Exit(0)
		}
		os.Exit(1)
	}()
	result, err := help(job, out)
	w := helperWord{Result: &result}
	if err != nil {
		w = helperWord{Error: err.Error()}
		for i, kind := range helperErrors {
			if errors.Is(err, kind) {
				w.Kinds = append(w.Kinds, i)
			}
		}
	}
	answered.Store(true)
	if err := out.Encode(w); err != nil {
		return 1
	}
	return 0
}

func help(job helperJob, out *json.Encoder) (layer.Result, error) {
	if err := becomeRoot(); err != nil {
		return layer.Result{}, fmt.Errorf("become root of the user namespace: %w", err)
	}
	if job.Unpack == nil {
		return layer.Result{}, os.RemoveAll(job.Remove)
	}
	for _, line := range job.Parents {
		e, err := layer.ParseEntry(line)
		if err != nil {
			return layer.Result{}, err
		}
		if job.Unpack.Parents == nil {
			job.Unpack.Parents = map[string]layer.Entry{}
		}
		job.Unpack.Parents[e.Path] = e
	}
	uids, uerr := idCount("/proc/self/uid_map")
	gids, gerr := idCount("/proc/self/gid_map")
	if err := errors.Join(uerr, gerr); err != nil {
		return layer.Result{}, err
	}
	job.Unpack.uids, job.Unpack.gids = uids, gids
	spent := &budget{limit: job.Unpack.Budget}
	var read int64
	return unpackHere(context.Background(), *job.Unpack, spent.spend, func(n int64) {
		if read += n; read >= tellEvery {
			_ = out.Encode(helperWord{Read: read}) // whoever does not read it has died
			read = 0
		}
	})
}

// becomeRoot takes on the IDs that have been mapped to those of the caller, for all threads.
func becomeRoot() error {
	if err := syscall.Setgroups(nil); err != nil && !errors.Is(err, syscall.EPERM) { // denied to some, and of no matter
		return err
	}
	return errors.Join(syscall.Setresgid(0, 0, 0), syscall.Setresuid(0, 0, 0))
}
