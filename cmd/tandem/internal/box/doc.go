// Package box is what `tandem run` and its sisters know beyond the engine: what a user's flags mean, where a box's files
// are, who looks after it while it runs, and what is left to do when it has ended.
//
// A box is a container with a name, a record and a keeper. The engine (package container) makes containers, and keeps no
// eye on them: somebody has to read what a container writes, wait for its end, put down its exit status and take down its
// network. That somebody is the box's keeper, one process for each box:
//
//	tandem run IMAGE CMD                  tandem run -d IMAGE CMD
//
//	   terminal                              terminal        tandem logs, ps, stop, wait
//	      │ ▲                                   ▲                 │ record, log, exit file
//	      ▼ │                                   │ ID              ▼
//	   tandem = keeper                       tandem ── exec ──► keeper (session of its own)
//	      │ clone                                                 │ clone
//	      ▼                                                       ▼
//	   container                                               container
//
// In the foreground the keeper is tandem itself, and the container's streams are its own; but in the place of the
// user's terminal they are pipes, as who has that to write to can read from it too. A detached box's keeper is one more
// tandem, which goes on after the first has ended, and writes what the container writes to a log. A box with a terminal
// that somebody sits at (-t) has such a keeper too, to which tandem attaches at once: so its user can leave it by two
// keys, and come back. Either way no daemon knows of all boxes: each keeper holds one, and the others find it by its
// record, a file that is replaced whole. Others may change in it what is theirs to say, such as a name or a limit; a
// keeper that replaces it keeps that.
//
// What a daemon would do beside that has no place of its own here, and is done by whoever is there:
//
//	start a box anew      its keeper, by the box's restart policy; but nobody does after a reboot
//	attach to one         its keeper listens on a socket, and passes on what the box writes and what is typed
//	test its health       its keeper, by a command in the box now and then ([Health])
//	tell what happens     whoever does it writes a line to a file, which others follow ([Event])
//	look into one         whoever asks: its cgroup's counters, the host's /proc, its root by way of /proc/PID/root
//
// Whether a keeper lives is asked of the kernel (its PID and start time, held by a pidfd), never of a file. A box whose
// keeper was killed is dead: its exit status is lost, and [Home.Collect] removes what it left.
//
// Files, with root's places; a user's are in $XDG_RUNTIME_DIR and $XDG_DATA_HOME:
//
//	/run/tandem/boxes/ID/       box.json (the record), exit (the status, once there is one), attach (the keeper's socket),
//	                            stop (it shall stay ended), hosts, resolv.conf, ...
//	/run/tandem/events          what has happened; events.1 is what was before that
//	/run/tandem/engine/ID/      the engine's own state
//	/var/lib/tandem/boxes/ID/   layer (what the box writes to its root), log
package box
