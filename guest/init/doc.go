// Package guestinit is pid 1 of tandem's guests.
//
// The kernel's last step of booting is to execute one program, /init of the initramfs, and never to return. In a
// distribution that program is a few hundred lines of shell that end in systemd. Here it is the tandem executable
// itself, in this order:
//
//	kernel
//	  |  execve("/init")
//	  v
//	pseudo file systems   proc, sysfs, devtmpfs: without them no device has a name
//	console               file descriptors 0 to 2, for complaints
//	config                /etc/tandem/init.json, what the host wants (package config)
//	boot timer            one byte to an I/O port stops the monitor's clock
//	modules               a distribution's kernel has even its virtio drivers as modules
//	root                  stay on the initramfs, or: 9p, overlay, switch root
//	more file systems     devpts, tmpfs, cgroup2, tracefs, ...; the Config's own
//	host name, lo
//	  |
//	  +--> console's leader   the session on the terminal, until all is sent that was written to it
//	  |      +--> program     a shell with job control; its end ends the machine
//	  +--> agent              commands from the host (package agent)
//	  |
//	  v
//	a signal, the shell's end, the agent  -->  kill, sync, unmount, reboot(2)
//
// What is special about pid 1:
//
//   - It must not end. The kernel answers that with a panic. So errors after the console is there are printed and power
//     the machine off.
//   - It is the parent of every orphan and must wait for them: package reap.
//   - Signals are not delivered to it unless it has a handler, and Go has handlers for all of them, most of which end
//     the process. So it takes all that somebody could send.
//   - SIGUSR1, SIGUSR2 and SIGTERM are what busybox's halt, poweroff and reboot send it, SIGINT is ctrl-alt-del.
package guestinit
