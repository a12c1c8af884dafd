// Package lease keeps who has which address on a bridge, in a file under lock.
//
// There is no daemon that could keep it in memory: each tandem that attaches a box is a process of its own, and several
// run at once. So what they share is a file for each bridge, and a lock beside it:
//
//	/run/tandem/network/tandem0.json    the subnets, and a lease for each box
//	/run/tandem/network/tandem0.lock    flock(2)ed while it is changed
//
//	{"subnet": "10.77.0.0/22", "leases": [
//	    {"id": "web", "number": 2, "link": "veth5be1...", "ports": [...], "attached": true, "by": {"pid": 4711, ...}}]}
//
// A lease is one number: the host part of an IPv4 and of an IPv6 address, so that 10.77.0.2 and fd..::2 belong
// together. Numbers are given out in turn, so that one that was given back rests for as long as others are there: a
// neighbour who still has the old box in mind is less likely to meet the new one.
//
// The leases are also the count of who uses the bridge: whoever takes the first one makes it, whoever gives back the
// last one removes it. Both happen with the lock held.
//
// The file is replaced by rename(2), so that a process killed at any moment leaves the old one or the new one. A file
// that can't be understood is an error, not an empty one: the boxes that it told of may be running.
//
// A process may die between taking a lease and giving it back. Each lease says who is at work on it, as PID and start
// time, and whether the work was finished; [Process.Alive] then tells whether anybody still is. See Collect in package
// network, which also asks the kernel whether the box's link is there.
package lease
