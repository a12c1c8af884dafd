package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// byHand makes a group and puts a process in. That is all that there is to a
// cgroup: mkdir, write and rmdir.
func byHand(v *version) error {
	fmt.Println("A group by hand:")
	g, err := v.makeGroup("memory")
	if err != nil {
		return err
	}
	files, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s is an empty folder", g.dir)
	}
	fmt.Printf("  mkdir(): the kernel has put %d files into it\n", len(files))
	w, err := startWorker("echo")
	if err != nil {
		return errors.Join(err, g.remove())
	}
	err = inAndOut(g, w)
	w.kill()
	if err := errors.Join(err, g.remove()); err != nil {
		return err
	}
	fmt.Println("  rmdir() when it has ended: gone")
	return nil
}

func inAndOut(g *group, w *worker) error {
	if err := g.join(w.cmd.Process.Pid); err != nil {
		return err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", w.cmd.Process.Pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, filepath.Base(g.dir)) {
			fmt.Printf("  write(cgroup.procs, PID): /proc/PID/cgroup has %s", line)
		}
	}
	if err := unix.Rmdir(g.dir); !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("rmdir %s: %w, want %w", g.dir, err, unix.EBUSY)
	}
	fmt.Println("  rmdir() with a process in it: device or resource busy")
	return nil
}

const (
	hogWants    = 256 * mebibyte
	memoryLimit = 32 * mebibyte
)

// memory: what cannot be reclaimed is paid by a process.
func memory(v *version) error {
	fmt.Println("memory: a process takes 256 MiB, in a group that has 32")
	return with(v, "memory", func(g *group) error {
		w, err := startWorker("hog")
		if err != nil {
			return err
		}
		defer w.kill()
		if err := g.set(setting{v.memoryLimit, strconv.Itoa(memoryLimit)}); err != nil {
			return err
		}
		if swap := (setting{v.swapLimit, strconv.Itoa(memoryLimit * (2 - v.version))}); g.has(swap.file) {
			if err := g.write(swap); err != nil { // of version 1 memory and swap, of version 2 swap alone
				return err
			}
		}
		if err := g.join(w.cmd.Process.Pid); err != nil {
			return err
		}
		if err := w.begin(); err != nil {
			return err
		}
		state, printed, err := w.wait()
		if err != nil {
			return err
		}
		if signal(state) != syscall.SIGKILL {
			return fmt.Errorf("the hog ended with %v after %d MiB", state, strings.Count(printed, "\n"))
		}
		fmt.Printf("  wait4(): it had %d MiB when the kernel sent it SIGKILL\n", strings.Count(printed, "\n"))
		kills, err := g.count(v.memoryEvents, "oom_kill")
		fmt.Printf("  read(%s): oom_kill %d\n", v.memoryEvents, kills)
		return err
	})
}

// pids: fork fails, as it does where a machine has no numbers left. The shell is
// number 1 of a PID namespace, so that what it starts ends with it.
func pids(v *version) error {
	fmt.Println("pids: a shell starts 4 processes, in a group that has place for 4 with the shell itself")
	return with(v, "pids", func(g *group) error {
		const script = `read begin; for i in 1 2 3 4; do echo fork; sleep 1000 & done; wait`
		shell := exec.Command("busybox", "sh", "-c", script)
		shell.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		var said strings.Builder
		w, err := startProgram(shell, &said)
		if err != nil {
			return err
		}
		defer w.kill()
		if err := g.set(setting{v.pidsLimit, "4"}); err != nil {
			return err
		}
		if err := g.join(shell.Process.Pid); err != nil {
			return err
		}
		if err := w.begin(); err != nil {
			return err
		}
		_, printed, err := w.wait()
		if err != nil {
			return err
		}
		fmt.Printf("  at fork %d: %s\n", strings.Count(printed, "fork\n"), strings.TrimSpace(said.String()))
		refused, err := g.count(v.pidsEvents, "max")
		fmt.Printf("  read(%s): max %d\n", v.pidsEvents, refused)
		return err
	})
}

const (
	cpuQuota, cpuPeriod = "20000", "100000" // microseconds
	spinnerWants        = 100 * time.Millisecond
)

// cpu: a process that has had its share of a period waits for the next one.
func cpu(v *version) error {
	fmt.Printf("cpu: a process uses %v of CPU time, in a group that has a fifth of a CPU\n", spinnerWants)
	return with(v, "cpu", func(g *group) error {
		w, err := startWorker("spinner")
		if err != nil {
			return err
		}
		defer w.kill()
		if err := g.set(v.cpuLimit...); err != nil {
			return err
		}
		if err := g.join(w.cmd.Process.Pid); err != nil {
			return err
		}
		began := time.Now()
		if err := w.begin(); err != nil {
			return err
		}
		state, _, err := w.wait()
		if err != nil {
			return err
		}
		took := time.Since(began)
		if !state.Success() {
			return fmt.Errorf("the spinner ended with %v", state)
		}
		if took < 2*spinnerWants { // a slice may be overdrawn by a tick, and is paid back later
			return fmt.Errorf("%v of CPU time took no more than %v", spinnerWants, took)
		}
		fmt.Printf("  it took %d ms\n", took.Milliseconds())
		times, err := g.count("cpu.stat", "nr_throttled")
		if err != nil {
			return err
		}
		waited, err := g.count("cpu.stat", v.cpuThrottled)
		if err != nil {
			return err
		}
		if times == 0 || waited == 0 {
			return fmt.Errorf("throttled %d times, for %d", times, waited)
		}
		fmt.Printf("  read(cpu.stat): nr_throttled %d, %s %d\n", times, v.cpuThrottled, waited)
		return nil
	})
}

// silence is how long a frozen process gets to answer all the same.
const silence = 200 * time.Millisecond

// freezer: the processes stop where they are, and do not know.
func freezer(v *version) error {
	fmt.Println("freezer: a process that answers whatever it is asked")
	return with(v, "freezer", func(g *group) error {
		w, err := startWorker("echo")
		if err != nil {
			return err
		}
		defer w.kill()
		if err := g.join(w.cmd.Process.Pid); err != nil {
			return err
		}
		answers := make(chan string)
		go func() {
			defer close(answers)
			for {
				line, err := w.out.ReadString('\n')
				if err != nil {
					return
				}
				answers <- strings.TrimSpace(line)
			}
		}()
		if err := ask(w, answers, "first", true); err != nil {
			return err
		}
		if err := g.set(v.freeze); err != nil {
			return err
		}
		err = waitFor("freeze", func() (bool, error) {
			text, err := g.read(v.frozen.file)
			return strings.Contains(text, v.frozen.value), err
		})
		if err != nil {
			return err
		}
		fmt.Printf("  read(%s): %s\n", v.frozen.file, v.frozen.value)
		asked := ask(w, answers, "second", false)
		if err := errors.Join(asked, g.set(v.thaw)); err != nil { // frozen, version 1 does not even let it be killed
			return err
		}
		select {
		case answer := <-answers:
			fmt.Printf("  it answers %q now\n", answer)
		case <-time.After(patience):
			return errors.New("no answer after the thaw")
		}
		return nil
	})
}

func ask(w *worker, answers <-chan string, question string, running bool) error {
	if _, err := fmt.Fprintln(w.in, question); err != nil {
		return err
	}
	limit := silence
	if running {
		limit = patience
	}
	select {
	case answer := <-answers:
		if !running {
			return fmt.Errorf("a frozen process answers %q", answer)
		}
		fmt.Printf("  asked %q, it answers %q\n", question, answer)
	case <-time.After(limit):
		if running {
			return fmt.Errorf("asked %q, it does not answer", question)
		}
		fmt.Printf("  asked %q, no answer in %v\n", question, limit)
	}
	return nil
}
