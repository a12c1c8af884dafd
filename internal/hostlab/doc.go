// Hostlab runs the test suite on this host and then, in the lab, what the host could not run.
//
//	go run ./internal/hostlab [flags] [packages]
//
// It runs go test twice and holds the results side by side:
//
//	          go test -json -race ./...
//	host  ------------------------------>  passed, failed, skipped: need kvm-linux
//	                                                          |
//	          go test -json -exec "tandem lab exec --" -run ...
//	lab   ------------------------------>  passed, failed, skipped
//
// The lab's processors are emulated and run at a tenth of the host's speed or less, so it is given only the tests that were
// skipped on the host, and the packages named in wholeInLab, whose subject is another one there: the KVM of the lab is
// the kernel's own SVM code, while a host without it may have an interpreter behind /dev/kvm.
//
// A test that was skipped in both places fails the run: then nobody has ever seen it pass. The last line is
//
//	N passed, N failed, N skipped
//
// of tests by name, each counted once: failed if it failed anywhere, passed if it passed anywhere, else skipped.
package main
