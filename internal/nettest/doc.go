// Package nettest is the other end for tests of networks: programs that containers and guests run, and what on the host
// answers them.
//
//	container or guest                       host (a network namespace of the test's)
//
//	apt-get update, download  ------------>  Mirror: a repository of one package
//	curl                      ------------>  ServePage: random bytes
//	iperf3 -c, iperf3 -c -R   ------------>  ServeIPerf3: iperf3 -s
//	connects dial             ------------>  Answer
//	connects serve            <------------  Dial, by a published port
//
// Both run the same files: a RootFS is a container's root, and a folder that a guest changes into.
package nettest
