package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tandem/kvm/probe"
	"tandem/vmm"
)

const vmRunHelp = `Boot a Linux guest, and run a command in it or a shell on this terminal.

The guest's initial RAM disk is tandem itself as init, busybox, the kernel's modules, and what --add names.
Nothing of it outlives the guest but what it writes to a --disk.

Without a command, the console is this terminal: Ctrl-a x leaves it and ends the guest, Ctrl-a h lists the keys.
Where standard input is no terminal, the command is a shell that reads it.
With a command, its streams and its exit status are tandem's. A program that busybox does not have and this host does
is taken into the guest, with the libraries that it is linked with.

Network cards (--net, as often as wanted) are on tandem's bridge, where containers are too, with an address and a way
out, or on a tap that is there already. Behind the first word come options, each after a comma:

  datapath=eventfd            KVM turns the guest's kick into an eventfd, which wakes a thread of tandem's (the default)
  datapath=exit               the kick is an exit, and the vCPU's own thread sends
  datapath=vhost              the kernel serves the rings (/dev/vhost-net); busypoll=MICROSECONDS before it sleeps
  datapath=vhost-user         a process of tandem's own does, and vhost-user:SOCKET whoever listens there
  mac=MAC  queues=N  mtu=N    the card's address, its queue pairs, its longest packet
  address=CIDR gateway=ADDR   what tandem's init gives a card on a tap; on a bridge they are leased

Exit statuses: the command's own, if there is one and the guest then powers off. Otherwise:
%s
126 and 127 are a command that cannot be executed or is not found in the guest.`

func newVMRunCommand() *cobra.Command {
	var (
		f        vmRunFlags
		prepared string
	)
	cmd := &cobra.Command{
		Use:   "run [flags] [--] [COMMAND [ARG...]]",
		Short: "Boot a Linux guest, for a command or a shell",
		Long:  fmt.Sprintf(vmRunHelp, endingsHelp()),
		Example: `  tandem vm run
  tandem vm run -- uname -a
  tandem vm run --cpus 4 --memory 2G --disk a.img --disk b.img,ro -- lsblk
  tandem vm run --net bridge -- curl -s http://10.77.0.1:8000/
  tandem vm run --net bridge,datapath=vhost -p 8080:80 --share /srv:www:ro -- httpd -f -h /mnt/www
  tandem vm run --kernel bzImage --initrd initrd.img --append "root=/dev/vda" --console log.txt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if prepared != "" {
				r, err := readRecipe(prepared)
				if err != nil {
					return err
				}
				return runGuest(cmd, r)
			}
			return vmRun(cmd, &f, args)
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&prepared, "prepared", "", "run what another tandem has prepared in `FILE`")
	_ = cmd.Flags().MarkHidden("prepared") // it exists
	return cmd
}

// endingsHelp lists how guests end.
func endingsHelp() string {
	var text string
	for e := vmm.PowerOff; e <= vmm.Stopped; e++ {
		text += fmt.Sprintf("  %3d  %s\n", e.ExitStatus(), e)
	}
	return text[:len(text)-1]
}

// vmRun settles what the flags leave open, and where to run it.
func vmRun(cmd *cobra.Command, f *vmRunFlags, command []string) error {
	r, err := prepareRun(cmd, f, command)
	if err != nil {
		return err
	}
	if f.accel.value == accelKVM {
		return runGuest(cmd, r)
	}
	why := ""
	if f.accel.value == accelAuto {
		verdict := probe.Quick()
		if verdict.Linux || inLab() { // there is no lab in the lab
			return runGuest(cmd, r)
		}
		why = verdict.Because
	}
	return vmRunInLab(cmd, r, why)
}

func prepareRun(cmd *cobra.Command, f *vmRunFlags, command []string) (*recipe, error) {
	if err := f.check(cmd.Flags(), command); err != nil {
		return nil, err
	}
	if len(command) == 0 && f.console == consoleAuto && f.initrd == "" && !isTerminal(cmd.InOrStdin()) {
		// Nobody is there to use a console. A script may be: a shell reads it to its end, which a serial line has not.
		command = []string{"/bin/sh"}
	}
	progress := newKernelProgress(cmd)
	var window windowSize
	window.rows, window.cols = terminalSize(cmd.InOrStdin())
	r, err := f.prepare(cmd.Context(), command, window, progress.show)
	progress.line.done()
	return r, err
}

// readRecipe reads what writeRecipe wrote.
func readRecipe(path string) (*recipe, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r recipe
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}

// runGuest runs on the KVM of this machine.
func runGuest(cmd *cobra.Command, r *recipe) error {
	// Signals are the guest's affair from here on: see guestRun.signals.
	ctx := context.WithoutCancel(cmd.Context())
	g := &guestRun{recipe: r, stdin: cmd.InOrStdin(), stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr()}
	report, err := g.run(ctx)
	if err != nil {
		return specFlagError(err)
	}
	if err := g.print(report); err != nil {
		return err
	}
	if report.Status != 0 {
		return exitStatus(report.Status)
	}
	return nil
}
