package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/internal/testenv"
)

// wholeInLab are the folders whose packages run there from end to end, where the host's own KVM is not fit for Linux.
var wholeInLab = []string{"kvm", "vmm", "virtio"}

// options are the command line.
type options struct {
	where    string
	all      bool
	race     bool
	timeout  time.Duration
	tandem   string
	patterns []string
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2) // flag has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done after %v", o.timeout))
	ok, err := run(ctx, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostlab:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("hostlab", flag.ContinueOnError)
	f.StringVar(&o.where, "on", "both", "`place` to run on: host, lab or both")
	f.BoolVar(&o.all, "all", false, "run every test in the lab, not only what the host skipped")
	f.BoolVar(&o.race, "race", true, "use the race detector on the host, where it links")
	f.DurationVar(&o.timeout, "timeout", 75*time.Minute, "end the whole run after that")
	f.StringVar(&o.tandem, "tandem", filepath.Join("bin", "tandem"), "the tandem `executable` that starts the lab and is tested")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if !slices.Contains([]string{"host", "lab", "both"}, o.where) {
		err := fmt.Errorf("-on %s: want host, lab or both", o.where)
		fmt.Fprintln(os.Stderr, err)
		return o, err
	}
	if o.patterns = f.Args(); len(o.patterns) == 0 {
		o.patterns = []string{"./..."}
	}
	var err error
	o.tandem, err = filepath.Abs(o.tandem)
	return o, err
}

// run tells whether the suite is good. What it prints goes to standard output.
func run(ctx context.Context, o options) (ok bool, err error) {
	if _, err := os.Stat(o.tandem); err != nil {
		return false, fmt.Errorf("%w (make builds it)", err)
	}
	packages, err := listPackages(ctx, o.patterns)
	if err != nil {
		return false, err
	}
	var host, lab map[testID]result
	if o.where != "lab" {
		if host, err = runOnHost(ctx, o, packages); err != nil {
			return false, err
		}
	}
	if o.where != "host" {
		selected := forLab(host, wholePackages(o), packages)
		if lab, err = runInLab(ctx, o.tandem, selected); err != nil {
			return false, err
		}
	}
	pairs := merge(host, lab)
	report(os.Stdout, pairs)
	if t := count(pairs); o.where != "both" { // skips are no failure of half a run
		return t.failed == 0 && t.passed > 0, nil
	}
	return count(pairs).ok(), nil
}

// wholePackages tells which packages the lab runs whole.
func wholePackages(o options) func(pkg string) bool {
	slowKVM := !testenv.Has(testenv.KVMLinux)
	return func(pkg string) bool {
		if o.all || o.where == "lab" {
			return true
		}
		_, folder, _ := strings.Cut(pkg, "/")
		top, _, _ := strings.Cut(folder, "/")
		return slowKVM && slices.Contains(wholeInLab, top)
	}
}

func runOnHost(ctx context.Context, o options, packages []string) (map[testID]result, error) {
	c := newCollector(func(p packageDone) { printPackage(os.Stdout, "host", p) })
	args := []string{"-timeout=10m"}
	if o.race && canRace(ctx) {
		args = append(args, "-race")
	}
	err := goTest(ctx, c, []string{testenv.TandemVariable + "=" + o.tandem}, append(args, packages...)...)
	return c.results, err
}

// maxLabs bounds the labs that run at the same time: each has up to 4 GiB of memory.
const maxLabs = 4

// runInLab runs the selected packages in as many labs as there are processors, as a lab whose processor is emulated has
// one. In each it is one package after the other: tests that race for a slow processor fail by their time limits.
func runInLab(ctx context.Context, tandem string, selected []selection) (map[testID]result, error) {
	work := make(chan selection, len(selected))
	for _, s := range selected {
		work <- s
	}
	close(work)
	lessons, err := buildLessons(ctx, selected)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(lessons)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make(map[testID]result)
	var mu sync.Mutex
	var labs sync.WaitGroup
	var errs []error
	for range min(runtime.NumCPU(), maxLabs, len(selected)) {
		labs.Go(func() {
			err := withLab(ctx, tandem, func(l lab) error {
				l.lessons = lessons
				for s := range work {
					c, err := l.runTwice(ctx, s)
					if err != nil {
						return err
					}
					mu.Lock()
					maps.Copy(results, c.results)
					mu.Unlock()
				}
				return nil
			})
			if err != nil {
				cancel(err)
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	labs.Wait()
	return results, errors.Join(errs...)
}

// buildLessons builds the lessons' programs into a folder, if their tests are selected: the lab takes half a minute for each.
func buildLessons(ctx context.Context, selected []selection) (dir string, err error) {
	i := slices.IndexFunc(selected, func(s selection) bool { return strings.HasSuffix(s.pkg, "/examples") })
	if i < 0 {
		return "", nil
	}
	if dir, err = os.MkdirTemp("", "tandem-lessons"); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", dir+"/", selected[i].pkg+"/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", errors.Join(fmt.Errorf("go build the lessons: %w", err), os.RemoveAll(dir))
	}
	return dir, nil
}

// lab is a lab of this run's own, so that neither another run nor its user's lab is in the way.
type lab struct {
	tandem, dir string
	lessons     string // the folder of their programs, if it is to run them
}

// withLab gives f a lab, which is gone when it returns.
func withLab(ctx context.Context, tandem string, f func(lab) error) error {
	l, err := startLab(ctx, tandem)
	if err != nil {
		return err
	}
	return errors.Join(f(l), l.stop())
}

func startLab(ctx context.Context, tandem string) (lab, error) {
	dir, err := os.MkdirTemp("", "tandem-lab")
	if err != nil {
		return lab{}, err
	}
	l := lab{tandem: tandem, dir: dir}
	up := l.command(ctx, "up")
	up.Stdout = os.Stderr
	if err := up.Run(); err != nil {
		os.RemoveAll(dir)
		return lab{}, fmt.Errorf("tandem lab up: %w", err)
	}
	return l, nil
}

// command is a verb of `tandem lab`.
func (l lab) command(ctx context.Context, verb string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.tandem, "lab", verb)
	cmd.Env = append(os.Environ(), l.environ()...)
	cmd.Stderr = os.Stderr
	return cmd
}

func (l lab) environ() []string { return []string{"TANDEM_LAB_DIR=" + l.dir} }

// runTwice runs tests of one package, and once more if the lab went down under them: the machine broke, and that tells
// nothing of the tests. If it was one of them, it does it again.
func (l lab) runTwice(ctx context.Context, s selection) (*collector, error) {
	c, err := l.run(ctx, s)
	if err != nil || !c.failed() || l.up(ctx) {
		return c, err
	}
	fmt.Printf("lab   went down under %s, which runs once more\n", s.pkg)
	return l.run(ctx, s)
}

// run runs tests of one package; a lab that is not up is started.
func (l lab) run(ctx context.Context, s selection) (*collector, error) {
	c := newCollector(func(p packageDone) { printPackage(os.Stdout, "lab", p) })
	env := append(l.environ(), "CGO_ENABLED=0", testenv.TandemVariable+"="+l.tandem, testenv.LessonsVariable+"="+l.lessons)
	return c, goTest(ctx, c, env, "-vet=off", "-timeout=40m", "-run="+s.pattern(), "-exec="+l.tandem+" lab exec --", s.pkg)
}

func (l lab) up(ctx context.Context) bool { return l.command(ctx, "status").Run() == nil }

// stop leaves nothing of the lab, also where the run was interrupted.
func (l lab) stop() error {
	down := l.command(context.Background(), "down")
	down.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what ends this run, a second Ctrl-c too, is not for it
	return errors.Join(down.Run(), os.RemoveAll(l.dir))
}
