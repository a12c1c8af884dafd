// Package cgroup makes, limits, watches and ends control groups, in both versions of them, as steps of a plan.
//
// # What a control group is
//
// The kernel counts what processes use: memory, time on processors, blocks read, processes started. A control group is
// a set of processes that are counted together, and a controller is a part of the kernel that counts one thing, and may
// set a bound to it. Groups form a tree, and a process that is born is in its parent's group: so a container's
// processes are counted together however many they become, and none of them gets out. Namespaces change what a
// container sees; its group is what holds it together.
//
// The tree is a file system. To make a group is to make a folder, to set a limit is to write a number to one of the
// files that appear in it, to move a process is to write its number to cgroup.procs, and to end a group is to remove
// the folder.
//
// # Two versions
//
// Version 1 let each controller have a tree of its own. They proved hard to use together: memory that is written back
// to disk later belongs to one group in one tree and to another in the other, and nobody could say whose write it was.
// Version 2 has one tree for all, and switches controllers on from the top down: a group's cgroup.subtree_control names
// those whose files its children have. In turn a group either holds processes or divides among its children, not both.
// Both versions may be mounted at once (hybrid); a controller is in one tree or the other.
//
//	       version 1                                           version 2
//
//	/sys/fs/cgroup                                      /sys/fs/cgroup
//	├── cpu,cpuacct                                     ├── cgroup.subtree_control   "+cpu +memory +pids"
//	│   └── web                                         └── web
//	│       ├── cpu.shares          1024                    ├── cpu.weight            100
//	│       └── tasks  ◀── 0                                ├── memory.max            64 MiB
//	├── memory                                              ├── pids.max              50
//	│   └── web                                             ├── cgroup.events         populated 1, frozen 0
//	│       ├── memory.limit_in_bytes  64 MiB               ├── cgroup.freeze  cgroup.kill
//	│       └── tasks  ◀── 0                                ├── cgroup.procs   ◀── or clone3(CLONE_INTO_CGROUP)
//	├── pids/web, freezer/web, devices/web ...              └── (an eBPF program, for devices)
//
//	    one folder in each tree                              one folder
//
// # How a limit travels
//
// config.json says linux.resources.memory.limit. [New] finds the tree that the memory controller is in, checks the
// value, and turns it into a setting: file memory.limit_in_bytes or memory.max, the number, the reason. [Group.Create]
// makes steps of settings: first the folders (and what has to be handed down to them), then the writes, in an order
// that the kernel takes at each moment. The kernel's function for that file stores the number in the counter of the
// group (struct page_counter), and from then on each page that a process of it touches is charged to this counter and
// to all those above. When one is full, the kernel reclaims from the group; when nothing is left to reclaim it kills.
//
// The specification speaks version 1, so for version 2 values are converted: shares to a weight, memory and swap
// together to swap alone, a list of device rules to a program. What cannot be converted is a [FieldError] with the
// field's name; a controller that is not there is a [MissingError] with the field that asked for it; a group that is
// not the caller's is [ErrNotPermitted]. All values are checked, and all errors told, before anything is touched.
//
// # Getting in
//
// To move a running process costs more than all the rest. The kernel has to hold up every fork on the machine while a
// process changes groups, and to do that it waits until every processor has passed through a quiet point (a grace
// period of RCU): 5 to 15 ms, as long as all the rest of making a container. There are two doors without that wait. In
// version 2 clone3 makes a child that is in the group from its first instruction ([Group.FD]). In version 1 a thread
// may move itself, by writing 0 to tasks ([Group.JoinFiles]), which together takes 0.2 ms for nine trees. [Group.Join]
// is for processes that exist.
//
// # Getting out
//
// A group cannot be removed while a process is in it, and a process that forks faster than it can be killed is what a
// limit of processes is for. [Group.Kill] has one file in version 2, cgroup.kill, that takes all at once. In version 1
// it freezes, so that nobody forks, kills each by a pidfd, and thaws, as a frozen process does not die before. It waits
// by what the kernel tells (cgroup.events, pidfds). Version 1's freezer tells nothing, and is asked again and again.
//
// # Devices
//
// Version 1 keeps a default and a list of exceptions per group, changed by writing lines to devices.allow and
// devices.deny. Version 2 has no such files: a program of type BPF_PROG_TYPE_CGROUP_DEVICE is attached to the folder,
// and the kernel runs it on each open and mknod. [CompileDevices] boils the specification's ordered rules down to the
// state that version 1 would have, and both forms are made of that; [Devices.Evaluate] says what the kernel will.
//
// # Traps
//
//   - A memory limit may never be above the limit of memory and swap: to raise both, swap goes first; to lower both,
//     memory. Quota and burst, idle and weight have the same trouble.
//   - A new cpuset of version 1 is empty and takes no process.
//   - In version 1 a limit below what is used is refused. In version 2 it is taken, and somebody is killed for it.
//   - A group below a frozen one is frozen, and a process that joins it stops for good, the engine's own child included.
//   - A container that may divide its group can nest groups until their path is longer than a system call takes. What
//     goes through groups goes from one to the next by descriptors.
//   - cgroup.procs shows 0 for a process of another PID namespace, and kill(0) is the caller's own process group.
//   - Enabling only some controllers in a group that holds processes can turn it into a group of threads, below which no
//     process can be.
package cgroup
