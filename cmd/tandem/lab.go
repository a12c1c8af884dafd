package main

import (
	"time"

	"github.com/spf13/cobra"

	"tandem/lab"
)

func newLabCommand() *cobra.Command {
	cmd := newGroupCommand("lab", "Run commands with this machine's files where there is KVM, vhost and cgroup v2",
		newLabUpCommand(),
		newLabExecCommand(),
		newLabShellCommand(),
		newLabStatusCommand(),
		newLabDownCommand(),
		newLabSuperviseCommand(),
	)
	cmd.Long = "The lab is a virtual machine that QEMU emulates, processor virtualization included, for where this machine has no\n" +
		"KVM that could run Linux. It has this machine's files: what is written to them there stays there, apart from what\n" +
		"is shared. Its kernel is the distribution's. It has no network but its own, and goes down when nobody uses it."
	return cmd
}

// labFlags are the flags of the verbs that start a lab.
type labFlags struct {
	cpus    int
	memory  sizeValue
	accel   *choiceValue
	kernel  string
	cmdline string
	idle    time.Duration
}

func addLabFlags(cmd *cobra.Command) *labFlags {
	f := &labFlags{accel: newChoice(string(lab.Auto), string(lab.KVM), string(lab.TCG))}
	flags := cmd.Flags()
	flags.IntVar(&f.cpus, "cpus", 0, "number of vCPUs (default: this machine's, at most 8; 1 for TCG)")
	flags.Var(&f.memory, "memory", "memory (default: half of what is free, at most 4G)")
	flags.Var(f.accel, "accel", "how QEMU executes instructions; auto is KVM where it can nest, else TCG")
	flags.StringVar(&f.kernel, "kernel", "", "boot the stored kernel `NAME` (default: the distribution's)")
	flags.StringVar(&f.cmdline, "append", "", "`WORDS` to add to its kernel's command line: security=selinux, for one")
	flags.DurationVar(&f.idle, "idle", lab.DefaultIdle, "go down when nobody has used it for so long; 0 stays up")
	return f
}

// options makes the lab's options, with progress shown on s.
func (f *labFlags) options(s *status) lab.Options {
	o := labOptions(s)
	o.CPUs, o.Memory, o.Accel, o.Kernel, o.Append = f.cpus, uint64(f.memory), lab.Accel(f.accel.value), f.kernel, f.cmdline
	if o.Idle = f.idle; f.idle == 0 {
		o.Idle = -1
	}
	return o
}

// labOptions are those of a verb without such flags.
func labOptions(s *status) lab.Options {
	return lab.Options{Progress: func(step string) { s.step("lab: %s", step) }}
}
