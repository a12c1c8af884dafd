package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ociRuntime is a command that makes containers of bundles.
type ociRuntime struct {
	name, path, root string
}

// stateFolder makes a folder for the runtimes' state. Theirs is in /run, which is memory nearly everywhere: a file system on a
// disk would be measured instead of them.
func stateFolder() (string, error) {
	for _, dir := range []string{"/run", "/dev/shm"} {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil && fs.Type == unix.TMPFS_MAGIC {
			return os.MkdirTemp(dir, "tandem-bench")
		}
	}
	return os.MkdirTemp("", "tandem-bench")
}

// findRuntimes gives those that are here, tandem's first. Their state is below dir.
func findRuntimes(o options, dir string) (found []ociRuntime, missing []string) {
	tandem := filepath.Join(filepath.Dir(o.tandem), "tandem-oci")
	for _, r := range []ociRuntime{{name: "tandem-oci", path: tandem}, {name: "crun"}, {name: "runc"}} {
		if r.path == "" {
			var err error
			if r.path, err = exec.LookPath(r.name); err != nil {
				missing = append(missing, err.Error())
				continue
			}
		}
		if path, err := filepath.Abs(r.path); err == nil {
			r.path = path
		}
		r.root = filepath.Join(dir, "state-"+r.name)
		found = append(found, r)
	}
	return found, missing
}

func (r ociRuntime) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, r.path, append([]string{"--root", r.root}, args...)...)
}

// do runs verbs one after the other. What they print goes to a file, as containers hold it open for longer than them.
func (r ociRuntime) do(ctx context.Context, verbs ...[]string) error {
	said, err := os.CreateTemp(filepath.Dir(r.root), "said")
	if err != nil {
		return err
	}
	defer os.Remove(said.Name())
	defer said.Close()
	for _, args := range verbs {
		cmd := r.command(ctx, args...)
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(said.Name())
			return fmt.Errorf("%s %s: %w: %s", r.name, args[0], err, tail(strings.TrimSpace(string(text))))
		}
	}
	return nil
}

// containerLimit is far more than a container takes to start.
const containerLimit = 30 * time.Second

// containerBench is what all measurements of containers share.
type containerBench struct {
	ctx      context.Context
	runtimes []ociRuntime
	runs     int
	short    string // a bundle that runs true
	long     string // one that runs until it is killed
	dir      string
}

// benchContainers measures runtimes in turn, on the same bundles.
func benchContainers(ctx context.Context, o options, dir string) ([]table, error) {
	b := &containerBench{ctx: ctx, runs: o.runs, dir: dir}
	var missing []string
	states, err := stateFolder()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(states)
	b.runtimes, missing = findRuntimes(o, states)
	if b.short, err = writeBundle(b.runtimes[0].path, filepath.Join(dir, "short"), 0, "/bin/true"); err != nil {
		return nil, err
	}
	b.long, err = writeBundle(b.runtimes[0].path, filepath.Join(dir, "long"), 0, "/bin/sleep", "1000000")
	if err != nil {
		return nil, err
	}
	var tables []table
	err = withoutStrayCgroups(func() error {
		tables, err = b.all()
		return err
	})
	if err != nil {
		return nil, err
	}
	tables[0].Notes = append(tables[0].Notes, missing...)
	tables[0].Notes = append(tables[0].Notes, fmt.Sprintf("single commands are each given after %v of rest, 100 at a time without any", rest))
	unpacked, err := benchUnpack(ctx, o, dir)
	return append(tables, unpacked...), err
}

func (b *containerBench) all() ([]table, error) {
	defer b.removeAll()
	run := b.compare(b.runs, b.timed(func(ctx context.Context, r ociRuntime) error {
		return r.do(ctx, []string{"run", "--bundle", b.short, "bench"})
	}))
	if run[0].err != nil {
		return nil, run[0].err
	}
	const batches = 3
	tables := []table{
		times("run /bin/true in a container, to its end", "crun's; a third of runc's", run),
		times("each of 100, one after the other", "", b.compare(batches, b.batch(1))),
		times("each of 100, 8 at a time", "", b.compare(batches, b.batch(8))),
		times("create, start, delete --force", "", b.compare(b.runs, b.timed(b.lifeCycle))),
		times("exec /bin/true in a container that runs", "", b.compareExec()),
		b.peakMemory(),
		b.leastMemory(),
	}
	return tables, nil
}

func times(title, aim string, results []result) table {
	return table{Title: title, Aim: aim, Rows: summarize(results, "ms", milliseconds)}
}

// compare measures every runtime n times, in turn, after one turn that is not counted.
func (b *containerBench) compare(n int, measure measurement) []result {
	results := make([]result, len(b.runtimes))
	for i, r := range b.runtimes {
		results[i].Name = r.name
	}
	for turn := -1; turn < n; turn++ {
		progress("turn %d of %d", max(turn+1, 0), n)
		for i, r := range b.runtimes {
			if results[i].err != nil {
				continue
			}
			ctx, cancel := context.WithTimeout(b.ctx, 10*containerLimit)
			reading, err := measure(ctx, r)
			cancel()
			if err != nil {
				results[i].err = err
			} else if turn >= 0 {
				results[i].readings = append(results[i].readings, reading)
			}
		}
	}
	progress("")
	return results
}

// measurement is one of one runtime.
type measurement func(context.Context, ociRuntime) (reading, error)

// rest is how long the machine has nothing to do before a reading. A container's end leaves the kernel with work for a while,
// and with locks that are still open for the next: a network namespace, cgroups, cgroup_threadgroup_rwsem. Whoever types a
// command meets a machine at rest; what it is like right after another, the batches show.
const rest = 50 * time.Millisecond

func (b *containerBench) timed(do func(context.Context, ociRuntime) error) measurement {
	return func(ctx context.Context, r ociRuntime) (reading, error) {
		time.Sleep(rest)
		start := time.Now()
		err := do(ctx, r)
		return reading{wall: time.Since(start)}, err
	}
}

func (b *containerBench) lifeCycle(ctx context.Context, r ociRuntime) error {
	return r.do(ctx, []string{"create", "--bundle", b.long, "bench"}, []string{"start", "bench"},
		[]string{"delete", "--force", "bench"})
}

// batch runs 100 containers, some at the same time, and gives what one took.
func (b *containerBench) batch(parallel int) measurement {
	return func(ctx context.Context, r ociRuntime) (reading, error) {
		const count = 100
		var mu sync.Mutex
		var errs []error
		var ended sync.WaitGroup
		free := make(chan struct{}, parallel)
		start := time.Now()
		for i := range count {
			free <- struct{}{}
			// It starts in this goroutine, whose thread has the mounts that are meant.
			cmd := r.command(ctx, "run", "--bundle", b.short, "bench"+strconv.Itoa(i))
			said := new(bytes.Buffer)
			cmd.Stderr = said
			if err := cmd.Start(); err != nil {
				return reading{}, err
			}
			ended.Go(func() {
				if err := cmd.Wait(); err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%s run: %w: %s", r.name, err, tail(said.String())))
					mu.Unlock()
				}
				<-free
			})
		}
		ended.Wait()
		return reading{wall: time.Since(start) / count}, errors.Join(errs...)
	}
}

// compareExec keeps a container of each runtime while it measures.
func (b *containerBench) compareExec() []result {
	const id = "bench-exec"
	failed := make(map[string]error)
	for _, r := range b.runtimes {
		failed[r.name] = r.do(b.ctx, []string{"run", "--detach", "--bundle", b.long, id})
		defer r.do(context.WithoutCancel(b.ctx), []string{"delete", "--force", id})
	}
	return b.compare(b.runs, b.timed(func(ctx context.Context, r ociRuntime) error {
		if err := failed[r.name]; err != nil {
			return err
		}
		return r.do(ctx, []string{"exec", id, "/bin/true"})
	}))
}

// peakMemory asks GNU time. What wait4(2) tells this process itself is no less than its own memory, which Go's vfork
// lends the child until its execve.
func (b *containerBench) peakMemory() table {
	t := table{Title: "the runtime's greatest memory during run", Aim: "runc's"}
	timer, err := exec.LookPath("time")
	if err != nil {
		t.Notes = []string{"not measured: GNU time is needed: " + err.Error()}
		return t
	}
	t.Rows = summarize(b.compare(min(b.runs, 5), func(ctx context.Context, r ociRuntime) (reading, error) {
		cmd := exec.CommandContext(ctx, timer, "-f", "%M", r.path, "--root", r.root, "run", "--bundle", b.short, "bench")
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			return reading{}, fmt.Errorf("%w: %s", err, tail(said.String()))
		}
		lines := strings.Fields(said.String())
		kib, err := strconv.ParseUint(lines[len(lines)-1], 10, 64)
		return reading{own: kib << 10}, err
	}), "MiB", ownMiB)
	return t
}

// leastMemory looks for the smallest limit under which a container starts.
func (b *containerBench) leastMemory() table {
	limits := []uint64{128, 256, 512, 1 << 10, 2 << 10, 3 << 10, 4 << 10, 6 << 10, 8 << 10, 16 << 10, 32 << 10}
	t := table{Title: "the smallest of some memory limits under which it starts", Aim: "1 MiB"}
	var results []result
	for _, r := range b.runtimes {
		found := result{Name: r.name, err: errors.New("starts under none of them")}
		i := slices.IndexFunc(limits, func(kib uint64) bool {
			dir := filepath.Join(b.dir, fmt.Sprint("limit", kib))
			bundle, err := writeBundle(b.runtimes[0].path, dir, kib<<10, "/bin/true")
			if err != nil {
				found.err = err
				return true
			}
			ctx, cancel := context.WithTimeout(b.ctx, containerLimit)
			defer cancel()
			defer r.do(context.WithoutCancel(ctx), []string{"delete", "--force", "bench"})
			found.err = r.do(ctx, []string{"run", "--bundle", bundle, "bench"})
			return found.err == nil
		})
		if i >= 0 && found.err == nil {
			found.readings = []reading{{own: limits[i] << 10}}
		}
		results = append(results, found)
	}
	t.Rows = summarize(results, "MiB", ownMiB)
	return t
}

// removeAll ends what a measurement that failed has left.
func (b *containerBench) removeAll() {
	ctx := context.WithoutCancel(b.ctx)
	for _, r := range b.runtimes {
		out, err := r.command(ctx, "list", "--quiet").Output()
		if err != nil {
			continue
		}
		for id := range strings.FieldsSeq(string(out)) {
			_ = r.do(ctx, []string{"delete", "--force", id})
		}
	}
}
