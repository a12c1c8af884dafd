// Package lint holds the tree to its own rules, as tests: what general linters cannot know of this one.
//
// The first is which package may import which. Arrows point down only:
//
//	                    cmd, examples
//	                          |
//	                     flow    lab
//	                       |  \ /  |
//	                     vmm   X   guest
//	                    / | \      / |
//	virtio <- vhost  boot |  container network
//	                      |
//	                     kvm
//
// with internal below them all. What a package on the left of a rule must not know keeps it useful elsewhere: a
// virtio device that has not heard of KVM serves vhost-user as well, a container engine that has not heard of VMs runs
// in the guest.
//
// The others: each package begins with a comment that explains it, files stay small, unsafe code stays in files named
// for it, there is no cgo, lessons explain themselves, and a test is skipped by package testenv alone.
package lint
