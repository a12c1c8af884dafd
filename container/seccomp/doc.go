// Package seccomp turns the seccomp section of an OCI runtime configuration into a program for seccomp(2), in Go alone.
//
// # The subject
//
// A process may give up system calls: it hands the kernel a program that is run at each of its calls from then on, and
// in all its children, and cannot be taken back. The program is in classic BPF, the language of packet filters: one
// 32-bit accumulator, loads, tests that jump forward only, and returns. No loop, so each run ends; no pointer, so it
// sees of a call what is in registers and nothing of what they point to:
//
//	struct seccomp_data        0    4     8                     16       24            64
//	                           | nr | arch| instruction pointer | args[0]| ... args[5] |
//	                              |    |                           |
//	                 what number -+    +- which ABI                +- two words of 32 bits
//
// What it returns is the verdict ([Action]): let the call through, fail it with an errno, kill, send SIGSYS, ask a
// tracer, ask the process that has the filter's listener, or log it. Of several filters on a process the strictest wins.
//
// Three things make a filter harder to write than it looks:
//
//   - A number means nothing without its ABI. An x86-64 kernel takes calls in three: its own, that of 32-bit programs,
//     which any process can use (int 0x80), and x32, which reports itself as the first and sets bit 30 of the number.
//     A filter that looks at numbers alone is passed by with another ABI's number of the same call.
//   - An argument has 64 bits and the accumulator 32. A comparison is two or three tests.
//   - Calls are added to Linux all the time, and a program that finds one missing expects ENOSYS.
//
// # From profile to program
//
// A profile (LinuxSeccomp of runtime-spec) is a default action and rules: a name, conditions on arguments, an action.
//
//	{"names": ["personality"], "action": "SCMP_ACT_ALLOW",
//	 "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 8}]}
//	        |
//	        |  profile.go      names become numbers (syscalls_table.go), fields are checked
//	        |  multiplex.go    socketcall and ipc, through which 32-bit programs make many calls
//	        |  order.go        which rule is tried first, where several are for one call
//	        v
//	   rules of each number of each ABI
//	        |
//	        |  graph.go        tests of words, each with two ways on; no two nodes alike
//	        |  knowledge.go    a test whose answer is known by then is left out
//	        |  numbers.go      runs of numbers with one verdict; a search tree finds the run
//	        v
//	   one decision graph:         arch == x86_64 ?
//	                              /                \
//	                      nr >= 212 ?            arch == i386 ?
//	                      /         \              /        \
//	                   ...        nr >= 104 ?    ...     KILL_THREAD
//	                               /      \
//	                         nr == 135 ?   ALLOW
//	                          /      \
//	        args[0] upper == 0 ?    EPERM
//	            /        \
//	  args[0] lower == 8 ?  EPERM
//	        |
//	        |  emit.go         written out from its end; far jumps; loads that are not needed left out
//	        v
//	   [Filter]: the program, the flags for seccomp(2), what to do with a listener
//
// [Filter.WriteText] prints a program with the names put back, and [Filter.Evaluate] runs it over a call without any
// kernel.
//
// # What a rule means
//
// The specification leaves much open, and what profiles rely on is libseccomp as runc and crun use it. So this compiler
// has libseccomp's verdicts, which a test compares by the million, with these differences, each in its file:
//
//   - Numbers above all that a denying profile names fail with ENOSYS (numbers.go). runc has it so, crun not.
//   - ipc's version number is no way around a rule (multiplex.go).
//   - Some sets of contradicting rules that libseccomp refuses have a meaning here (order.go).
//   - What libseccomp 2.5.4 gets wrong is right here: it may compare a word while another is in the accumulator.
//
// # What it costs
//
// Since Linux 5.11 the kernel finds out at load which calls a filter lets through whatever their arguments are, and
// does not run it for those again. It follows a program for that only as far as it looks at nr and arch, so these come
// first here, and a call without conditions never reads an argument.
//
// For the others, and for the load itself, short programs count. Docker's default profile is a program of 277
// instructions that runs 9 at a call on average. libseccomp makes one of 1243 instructions that runs 15 with its binary
// tree, which runc turns on, and one of 998 that runs 239 without. The kernel took 0.11 ms to load the first, 0.3 ms
// and 1.2 ms for the others.
//
// # Traps
//
//   - seccomp(2) wants no_new_privs or CAP_SYS_ADMIN. It is the last thing to do before exec; but exec is still to be
//     done, and with a listener somebody has to be told of it first. A profile that forbids this stops it.
//   - What a pointer points to can change after the filter has looked. Only registers can be judged.
//   - A condition on an int argument compares 64 bits, the upper half of which the kernel itself ignores: to deny a
//     value a rule has to mask it (SCMP_CMP_MASKED_EQ), to allow one it need not.
//   - Rules on one argument twice are two rules, each of which is enough: there is no way to say a range.
package seccomp
