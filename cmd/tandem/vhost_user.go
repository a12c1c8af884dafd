package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/elsewhere"
	"tandem/network"
	"tandem/vhost/user/backend"
	"tandem/virtio"
	"tandem/virtio/blk"
	virtionet "tandem/virtio/net"
)

const vhostUserHelp = `Serve a virtio device to a virtual machine monitor over a Unix socket: to tandem's own, to QEMU, to any that speaks
vhost-user. The monitor's memory has to be shared with this process (QEMU: -object memory-backend-memfd,share=on).

One monitor at a time is served, and the next one when it has gone. A monitor that stays while this process is ended and
started again goes on where it was, if it keeps track of requests in flight, as tandem does.`

func newVhostUserCommand() *cobra.Command {
	cmd := newGroupCommand("vhost-user", "Be a virtio device for somebody's VM", newVhostUserNetCommand(), newVhostUserBlkCommand(),
		newReadOnlyCommand())
	cmd.Long = vhostUserHelp
	return cmd
}

// serverFlags are those of all devices.
type serverFlags struct {
	socket           string
	listenFD, lifeFD int
}

func (f *serverFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.socket, "socket", "", "listen on the Unix socket `PATH`, which is made and removed")
	flags.IntVar(&f.listenFD, "listen-fd", 0, "listen on the socket that is open as descriptor `N`")
	flags.IntVar(&f.lifeFD, "life-fd", 0, "end when the pipe that is open as descriptor `N` ends")
	_ = flags.MarkHidden("life-fd") // it exists
	cmd.MarkFlagsOneRequired("socket", "listen-fd")
	cmd.MarkFlagsMutuallyExclusive("socket", "listen-fd")
}

func (f *serverFlags) listen() (*net.UnixListener, error) {
	if f.socket != "" {
		l, err := listenAt(f.socket)
		if err != nil {
			return nil, flagError("socket", f.socket, err)
		}
		return l, nil
	}
	file := os.NewFile(uintptr(f.listenFD), "listening socket")
	if file == nil {
		return nil, flagError("listen-fd", fmt.Sprint(f.listenFD), "no descriptor")
	}
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, flagError("listen-fd", fmt.Sprint(f.listenFD), err)
	}
	listener, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(flagError("listen-fd", fmt.Sprint(f.listenFD), "no Unix socket"), l.Close())
	}
	return listener, nil
}

// listenAt makes a socket, in the place of one whose process was killed.
func listenAt(path string) (*net.UnixListener, error) {
	address := &net.UnixAddr{Name: path, Net: "unix"}
	l, err := net.ListenUnix("unix", address)
	if !errors.Is(err, unix.EADDRINUSE) {
		return l, err
	}
	conn, dialErr := net.DialUnix("unix", nil, address)
	if dialErr == nil {
		conn.Close()
	}
	// A file of another kind refuses connections too.
	if info, statErr := os.Lstat(path); statErr != nil || info.Mode().Type() != os.ModeSocket || !errors.Is(dialErr, unix.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.ListenUnix("unix", address)
}

// serve serves a device until a signal comes.
func (f *serverFlags) serve(cmd *cobra.Command, device interface {
	virtio.Device
	io.Closer
},
) error {
	defer device.Close()
	makeRoom(len(device.QueueSizes()))
	l, err := f.listen()
	if err != nil {
		return err
	}
	server, err := backend.New(device, backend.Options{Report: func(err error) {
		fmt.Fprintln(cmd.ErrOrStderr(), "tandem:", err)
	}})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	if f.lifeFD != 0 {
		l.SetUnlinkOnClose(true) // who made it may have been killed
		go func() {
			_, _ = io.Copy(io.Discard, os.NewFile(uintptr(f.lifeFD), "life"))
			cancel()
		}()
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	return server.Serve(l)
}

func newVhostUserNetCommand() *cobra.Command {
	var f serverFlags
	var tap string
	var queues int
	cmd := &cobra.Command{
		Use:   "net --socket PATH --tap NAME",
		Short: "A network card whose cable is a tap",
		Long:  "Serves a network card. The monitor on the other side says what its address is.",
		Example: `  ip tuntap add dev tap0 mode tap && ip link set tap0 up
  tandem vhost-user net --socket net.sock --tap tap0
  qemu-system-x86_64 ... -chardev socket,id=c,path=net.sock -netdev vhost-user,id=n,chardev=c -device virtio-net-pci,netdev=n`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := network.OpenTap("", tap, queues, network.Tap{Queues: queues, VNetHdr: true})
			if err != nil {
				return flagError("tap", tap, err)
			}
			end, err := virtionet.NewTap(files...)
			if err != nil {
				return err
			}
			// The monitor has the card's registers and its control queue: features that need them are its to offer.
			device, err := virtionet.New(virtionet.Spec{Backend: end, Pairs: queues})
			if err != nil {
				return err
			}
			return f.serve(cmd, device)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&tap, "tap", "", "`NAME` of the tap")
	cmd.Flags().IntVar(&queues, "queues", 1, "number of queue pairs")
	_ = cmd.MarkFlagRequired("tap")
	return cmd
}

func newVhostUserBlkCommand() *cobra.Command {
	var f serverFlags
	var spec blk.Spec
	cmd := &cobra.Command{
		Use:     "blk --socket PATH --file IMAGE",
		Short:   "A disk that is a raw image or a block device",
		Example: "  tandem vhost-user blk --socket disk.sock --file a.img\n  tandem vm run --vhost-user blk,socket=disk.sock -- lsblk",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			device, err := blk.Open(spec)
			if err != nil {
				return flagError("file", spec.Path, err)
			}
			return f.serve(cmd, device)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&spec.Path, "file", "", "raw `IMAGE` or block device")
	cmd.Flags().BoolVar(&spec.ReadOnly, "ro", false, "refuse to write to it")
	cmd.Flags().StringVar(&spec.Serial, "serial", "", "what the guest sees as the disk's serial `NUMBER`")
	cmd.Flags().IntVar(&spec.Queues, "queues", 1, "number of queues")
	_ = cmd.MarkFlagRequired("file")
	return cmd
}

// newReadOnlyCommand executes another's back-end, for which a folder is read-only: see elsewhere.Serve.
func newReadOnlyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "read-only FOLDER COMMAND [ARG...]", Short: "Execute a command for which a folder is read-only", Hidden: true,
		Args: cobra.MinimumNArgs(2), DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			runtime.LockOSThread()
			return elsewhere.MountAndExec(args[0], args[1:])
		},
	}
}
