// Package vsock is the virtio socket device (virtio 1.2, section 5.10): stream sockets between programs of a guest and
// programs of its host, without a network. There is no interface to name, no address to lease and no firewall to ask: a
// guest has a number (its CID), the host is number 2, and each side has 2^32 ports. An agent in a guest is best reached
// so.
//
//	guest                 guest memory                 switchboard                       host
//
//	socket(AF_VSOCK)      +--------+------------+                            v.sock <--- program: CONNECT 1024
//	 port 1024  <-------- | header | data . . . | <---- readv ------+
//	            receiveq  +--------+------------+       connections +------> v.sock_52 - program that listens
//	 to 2:52    --------> | header | data . . . | ----> writev -----+
//	            transmitq +--------+------------+       (guest port,         DialContext, Listen: the monitor itself
//	            eventq    | id |                         host port)
//	                      +----+
//
// # Packets
//
// All connections share the two queues. Each packet has a header of 44 bytes: the two addresses, an operation, and a
// length. A connection begins with REQUEST and RESPONSE, moves bytes with RW, and ends with SHUTDOWN, which names the
// directions that end, and RST. What comes for a connection that is not there is answered with a RST, but for a RST.
//
//	who asks        who is asked         who is done with it     the other
//	REQUEST  --->                        SHUTDOWN both --->
//	         <---   RESPONSE, or RST                      <---   RST
//	RW       <-->   RW
//
// # On the host: Unix sockets
//
// The host's kernel is not told of any of this: its side of each connection is a Unix socket, by the convention that
// Firecracker has made common. A program connects to the one socket at Path, writes "CONNECT 1024\n", reads "OK 1073741824\n"
// (the port that the guest sees it come from), and talks to whoever listens at port 1024 in the guest; if nobody does,
// the socket is closed. A guest that connects to port 52 of the host gets whoever listens at Path_52. What a program may
// do is a matter of the files' modes. The monitor itself needs no file: it has [Device.DialContext] and
// [Device.Listen], whose connections are pairs of sockets, one end of which is served as all others are.
//
// A direction that ends on one side is ended on the other (SHUTDOWN, shutdown(2)). A Unix socket has no RST: a program
// reads an end of file, whatever ended the connection, and what the guest had sent before is delivered first.
//
// # Credit
//
// A queue that many share must not wait for one: if a program does not read, its bytes cannot stay in the queue, and
// they cannot be dropped. So nobody sends what the other has not promised to keep. Each packet says how large its
// sender's buffer for this connection is (buf_alloc), and how many bytes have left it for good (fwd_cnt); the other may
// have this many on the way:
//
//	credit = buf_alloc - (sent - fwd_cnt)            all counts modulo 2^32
//
// Towards the guest nothing is kept: bytes stay in the Unix socket until the guest has credit and buffers for them, and
// then go from one to the other in one readv, into as many buffers as they fill. From the guest, they go into the Unix
// socket by one writev; what it does not take is copied to a buffer of Spec.Buffer bytes, which is what the guest was
// promised, and which the connection has for as long as there is something in it. Half a buffer later the guest is told,
// if no packet did so by then (CREDIT_UPDATE). Who runs dry asks (CREDIT_REQUEST).
//
// A guest can lie: send more than it may, or claim to have taken what it was never sent. Either ends that connection.
//
// # What is bounded
//
// A guest may ask for much, and give no buffers for the answers. What a connection has to say beside data is a set of
// flags, and not a list of packets: each kind waits at most once. RSTs for no connection wait in a ring, and while that
// is full the transmit queue waits as well (section 5.10.6.1). Connections are counted; those that the guest has
// forgotten count as long as a program has still to read what they brought. Data is sent in turns of 64 KiB, so that
// none waits for long behind another.
//
// # One lock, two threads
//
// A goroutine waits for all sockets and for the driver's buffers (epoll, for edges, so that nothing has to be
// armed again), and sends. Packets from the guest are taken in by the transmit queue's goroutine, or by the thread of the
// vCPU that kicked (data path "exit"). Both hold the switchboard's lock while they work, and wait for nothing under
// it: all sockets are non-blocking.
//
// # Elsewhere
//
// With Spec.Server the kernel serves the two queues (vhost-vsock) and the host's side is its own AF_VSOCK. The
// registers and the event queue stay here. There is one event, TRANSPORT_RESET: all connections are gone, as after
// [Device.ResetTransport], or after the driver has reset one of the queues while there were some.
package vsock
