package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// step is one thing that makes a process more of a container.
type step struct {
	name, calls string
	namespaces  uintptr // flags of clone(2)

	parent func(pid int) (undo []func() error, err error) // before the child goes on, or nil
	child  func(root string) error                        // in it, or nil
	show   string                                         // a script that the container runs
}

// stepShell is the first that executes something. What it adds is done last,
// whatever steps there are: what comes after execve is not ours.
const stepShell = 2

var steps = []step{
	{
		name: "uts", calls: "clone(CLONE_NEWUTS), sethostname()",
		namespaces: unix.CLONE_NEWUTS, child: setName,
	},
	{
		name: "pid", calls: "clone(CLONE_NEWPID)",
		namespaces: unix.CLONE_NEWPID,
	},
	{
		name: "shell", calls: "execve(sh)",
		show: `read name </proc/sys/kernel/hostname
			echo "  a shell of the host's, with number $$, on a machine called $name"
			set -- /proc/[0-9]*
			echo "  it sees $# processes of the host in /proc"`,
	},
	{
		name: "root", calls: "clone(CLONE_NEWNS), mount(), pivot_root(), umount2(MNT_DETACH)",
		namespaces: unix.CLONE_NEWNS, child: changeRoot,
		show: `echo "  the folders in / are: $(echo *)"
			echo "  files in /proc: $(ls -A /proc | wc -l)"`,
	},
	{
		name: "proc", calls: "mount(proc)",
		child: mountProc,
		show: `echo "  processes:" /proc/[0-9]*
			echo "  mounts:" $(cut -d " " -f 2 /proc/mounts)`,
	},
	{
		name: "network", calls: "clone(CLONE_NEWNET), RTM_NEWLINK of a veth pair, RTM_NEWADDR",
		namespaces: unix.CLONE_NEWNET, parent: plugIn, child: configureLink,
		show: `echo " " $(ip -4 addr show dev eth0 | grep inet)
			echo "  to the host:" $(ping -c 1 -W 10 ` + hostIP + ` | grep transmitted)`,
	},
	{
		name: "cgroup", calls: "mkdir(), write(cgroup.procs), write() of two limits",
		parent: limit,
		show: `echo "  a program takes all the memory that there is"
			awk 'BEGIN { while (1) s = s s "0123456789" }'
			echo "  and ends with status $?"`,
	},
}

func stepNames() []string {
	var names []string
	for _, s := range steps {
		names = append(names, s.name)
	}
	return names
}

func findStep(name string) (int, error) {
	for i, s := range steps {
		if s.name == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no step is called %q: they are %s", name, strings.Join(stepNames(), ", "))
}
