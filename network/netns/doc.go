// Package netns lets a program work in several network namespaces at once.
//
// A network namespace is a network stack of its own: links, addresses, routes, netfilter rules, sockets, and what lies
// under /proc/sys/net. It lives for as long as a process is in it, a descriptor or a mount of its file is there, or a
// socket of it is open.
//
// In Linux a namespace belongs to a *thread*, and that is the trap for Go, whose goroutines wander from thread to
// thread:
//
//	goroutine ──┐ LockOSThread        ┌─ UnlockOSThread ── goes on, on any thread
//	            └─ thread: setns(A) ─ f() ─ setns(back) ─┘
//	                                            │ failed: the thread stays locked, and ends with its goroutine
//
// [NS.Do] does that, and nothing that f starts as a new goroutine is in the namespace. What f opens stays where it
// was opened: a netlink socket made in a namespace talks to that namespace's stack from whichever thread. So most
// work needs Do only to open a handle ([NS.Handle]); files under /proc/sys/net, /dev/net/tun and new sockets need it
// each time, since they look at the thread that opens them.
package netns
