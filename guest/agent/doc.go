// Package agent runs commands in a guest for its host, over any stream of bytes.
//
// A machine has no door but its devices. A host that wants to run a command in it needs something in the guest that
// listens on one of them: a serial port, a virtio-serial port, a vsock. All of them are one stream of bytes, while a
// command has several: its input, its output, its errors, and the talk about it. So a session has three layers, each
// of them a known one:
//
//	 host                                                                 guest
//	+----------------------+                           +-----------------------+
//	| Cmd  Cmd  Cmd ...    |                           |   processes           |
//	+----------------------+   one control stream      +-----------------------+
//	| ttrpc client         | <-----------------------> |   ttrpc server        |
//	|                      |   stdin  ---------------> |   pipes, or a         |
//	|                      |   stdout <--------------- |   pseudo-terminal     |
//	|                      |   stderr <--------------- |                       |
//	+----------------------+                           +-----------------------+
//	| yamux: streams with flow control, half-close     |   yamux               |
//	+----------------------+                           +-----------------------+
//	| handshake            |                           |   handshake           |
//	+----------------------+                           +-----------------------+
//	           \______ ttyS1 | virtio-serial | vsock | Unix socket ______/
//
// Handshake: both ends throw away bytes until they have found one another, see handshake.go. Then yamux cuts the
// stream into many. The client opens all of them. The first bytes of each say what it is for: control, which goes on as
// ttrpc with the service of agentpb/agent.proto; or a command's stdin, stdout or stderr, with the command's name, which
// Start has answered on a control stream.
//
// A command's life:
//
//  1. Start. The guest finds the program, opens pipes or a terminal, and forks. What fails up to the execve comes back
//     in shell's terms: not found, not executable, other.
//  2. The client opens the streams that it asked for. Until then the command's output waits in its pipe.
//  3. Wait answers with the status when the process ends. Its streams end when nobody in the guest can write to them
//     any more, or WaitDelay after the process. Up to there each byte arrives: the client's Wait returns when it has
//     the status and all streams have ended.
//  4. A process that the command left behind goes on, like under docker exec, until the control stream ends. Then all
//     that was started through it is killed.
//
// Flow control is per stream: a client that does not read one command's output stops that command alone, when its
// pipe and yamux's window of 256 KiB are full.
//
// Each side takes the other to be hostile. Messages are bounded (4 MiB, ttrpc's), so are the streams and commands, a
// command's name is random, and nothing that the peer sends ends the process: see the fuzz tests.
//
// Traps, for those who change this:
//
//   - yamux shows a session's sudden end to a reader as the end of the stream. Whoever reads stdin must ask which of
//     the two it was, or a command would take half of its input for all of it.
//   - yamux's Close is a half-close: what the peer sends still comes. It takes both sides to free a stream.
//   - A write blocks while the window is full even if the peer has closed its side: a deadline in the past frees it.
//   - A serial line does not tell that a client has gone. The next one's hello then ends the old session, as no frame
//     begins like it; after a client that was cut off in the middle of a frame, its hellos first fill that up.
//   - The agent is part of pid 1, whose other children are anybody's: it must not wait for processes by itself, package
//     reap does.
package agent
