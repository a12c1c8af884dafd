// Package resctrl puts a container into a class of service: which part of a processor's cache it may fill, and how much of
// the way to memory it may use (Intel's Resource Director Technology, AMD's QoS; Documentation/filesystems/resctrl.rst).
//
// Cgroups divide what the kernel hands out. A cache is filled by the processor itself, which asks no kernel; so it has to be
// told beforehand. Each processor has a register with a small number, the class of service (CLOS), and tables of what each
// class may use, of which there are a dozen or so. The kernel writes a task's class into the register when it runs that task,
// and shows classes as folders of a file system:
//
//	/sys/fs/resctrl            the default class
//	 ├── schemata              "L3:0=fff;1=fff": of the caches 0 and 1, twelve parts each
//	 ├── tasks                 who is in it
//	 ├── mon_groups/
//	 └── guaranteed/           another class: mkdir takes a number, and fails when there are none left
//	      ├── schemata
//	      ├── tasks            write a process's number here, and all that it starts later is in the class too
//	      └── mon_groups/web/  a part of the class whose use of the cache is counted by itself
//
// [New] takes what config.json says (config-linux.md, IntelRdt), [Group.Steps] are the steps of the plan. Who made a class
// removes it: one that has a name of its own (closID) is somebody else's, and stays.
package resctrl
