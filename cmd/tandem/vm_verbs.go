package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tandem/cmd/tandem/internal/machine"
	"tandem/virtio/limit"
	virtionet "tandem/virtio/net"
)

func newVMLsCommand() *cobra.Command {
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:     "ls [flags]",
		Aliases: []string{"ps"},
		Short:   "List the VMs that run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			registry, err := vmRegistry()
			if err != nil {
				return err
			}
			list, err := registry.List()
			if err != nil {
				return err
			}
			type row struct {
				machine.Record
				State string `json:"state"`
			}
			rows := []row{}
			for _, r := range list {
				var s machine.State
				if err := registry.Call(cmd.Context(), r.Name, http.MethodGet, "/state", nil, &s); err != nil {
					if _, findErr := registry.Find(r.Name); errors.Is(findErr, machine.ErrNotFound) {
						continue // it has ended meanwhile
					}
					return err
				}
				rows = append(rows, row{r, s.State})
			}
			switch {
			case asJSON:
				return printJSON(cmd.OutOrStdout(), rows)
			case quiet:
				for _, r := range rows {
					fmt.Fprintln(cmd.OutOrStdout(), r.Name)
				}
				return nil
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tSTATE\tPROCESS\tCPUS\tMEMORY\tSINCE\tADDRESS")
			for _, r := range rows {
				memory := sizeValue(r.Memory)
				fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%v\t%s\t%s\n", r.Name, r.State, r.Process.PID, r.CPUs, &memory,
					time.Since(r.Created).Round(time.Second), firstAddress(r.Addresses))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print names alone")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// firstAddress is the one to reach a guest at, of those that it has.
func firstAddress(list []netip.Prefix) string {
	if len(list) == 0 {
		return "-"
	}
	return list[0].Addr().String()
}

// newVMTellCommand is a verb that tells VMs one thing.
func newVMTellCommand(verb, path, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME...", Short: short, Long: long, Args: atLeastOne("VM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			registry, err := vmRegistry()
			if err != nil {
				return err
			}
			var errs []error
			for _, name := range args {
				if err := registry.Call(cmd.Context(), name, http.MethodPut, path, nil, nil); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return errors.Join(errs...)
		},
	}
}

func newVMStopCommand() *cobra.Command {
	return newVMTellCommand("stop", "/stop", "Pull the plug of VMs",
		"Ends VMs at once, as if their plug were pulled: what a guest has not written to its disk is lost. A guest that is to\n"+
			"power off in order is told so from inside (poweroff).")
}

func newVMPauseCommand() *cobra.Command {
	return newVMTellCommand("pause", "/pause", "Halt the vCPUs of VMs", "Halts all vCPUs. The guest's clocks go on meanwhile.")
}

func newVMResumeCommand() *cobra.Command {
	return newVMTellCommand("resume", "/resume", "Let the vCPUs of VMs go on", "")
}

func newVMNetCommand() *cobra.Command {
	return newGroupCommand("net", "Network cards of VMs that run", newVMNetStatsCommand(), newVMNetSetCommand())
}

func newVMDiskCommand() *cobra.Command {
	return newGroupCommand("disk", "Disks of VMs that run", newVMDiskStatsCommand(), newVMDiskSetCommand())
}

// rateFlags are limits as they are typed.
type rateFlags struct {
	rate, burst   sizeValue
	ops, opsBurst uint64
	cmd           *cobra.Command
}

func (f *rateFlags) register(cmd *cobra.Command, ops string) {
	f.cmd = cmd
	cmd.Flags().Var(&f.rate, "rate", "bytes a second, such as 100M; 0 for no limit")
	cmd.Flags().Var(&f.burst, "burst", "bytes that may pass at once after a pause (default: a second's)")
	cmd.Flags().Uint64Var(&f.ops, "ops", 0, ops+" a second; 0 for no limit")
	cmd.Flags().Uint64Var(&f.opsBurst, "ops-burst", 0, ops+" that may pass at once after a pause (default: a second's)")
	cmd.MarkFlagsOneRequired("rate", "ops")
}

// apply lays what was typed over the limits that are.
func (f *rateFlags) apply(l limit.Limits) limit.Limits {
	changed := f.cmd.Flags().Changed
	if changed("rate") || changed("burst") {
		l.Bytes = limit.Rate{PerSecond: uint64(f.rate), Burst: uint64(f.burst)}
	}
	if changed("ops") || changed("ops-burst") {
		l.Ops = limit.Rate{PerSecond: f.ops, Burst: f.opsBurst}
	}
	return l
}

func newVMNetSetCommand() *cobra.Command {
	var f rateFlags
	var card string
	direction := newChoice("both", "out", "in")
	cmd := &cobra.Command{
		Use:   "set NAME [flags]",
		Short: "Limit what a network card of a VM moves",
		Long: "Limits what the guest sends (out), what it gets (in), or each of both. A limit holds at once.\n" +
			"It holds where tandem moves the frames: on the data paths exit and eventfd.",
		Example: "  tandem vm net set web --rate 100M --burst 1M\n  tandem vm net set web --card net1 --direction in --ops 5000\n  tandem vm net set web --rate 0",
		Args:    theOne("VM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name := cmd.Context(), args[0]
			registry, err := vmRegistry()
			if err != nil {
				return err
			}
			nic, err := findNIC(ctx, registry, name, card)
			if err != nil {
				return err
			}
			var change machine.NICLimits
			if direction.value != "in" {
				l := f.apply(nic.TransmitLimits)
				change.Transmit = &l
			}
			if direction.value != "out" {
				l := f.apply(nic.ReceiveLimits)
				change.Receive = &l
			}
			return registry.Call(ctx, name, http.MethodPut, "/nics/"+nic.Name+"/limits", change, nil)
		},
	}
	f.register(cmd, "frames")
	cmd.Flags().StringVar(&card, "card", "", "`NAME` of the card, such as net1 (default: the first)")
	cmd.Flags().Var(direction, "direction", "which frames")
	return cmd
}

func findNIC(ctx context.Context, registry machine.Registry, vm, card string) (machine.NICInfo, error) {
	var nics []machine.NICInfo
	if err := registry.Call(ctx, vm, http.MethodGet, "/nics", nil, &nics); err != nil {
		return machine.NICInfo{}, err
	}
	for _, n := range nics {
		if n.Name == card || card == "" {
			return n, nil
		}
	}
	if card == "" {
		return machine.NICInfo{}, fmt.Errorf("%s has no network card", vm)
	}
	return machine.NICInfo{}, flagError("card", card, fmt.Sprintf("%s has no such card", vm))
}

func newVMNetStatsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats NAME",
		Short: "What the network cards of a VM have moved",
		Long: "Prints frames and bytes of each queue pair, and what was dropped, by reason.\n" +
			"Where another serves the queues (vhost, vhost-user) the tap counts: ip -s link.",
		Args: theOne("VM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			nics := []machine.NICInfo{}
			t, err := askVM(cmd, args[0], "/nics", &nics, asJSON)
			if t == nil || err != nil {
				return err
			}
			fmt.Fprintln(t, "CARD\tPATH\tMAC\tPAIR\tDIRECTION\tFRAMES\tBYTES\tDROPPED\tLIMIT")
			for _, n := range nics {
				for pair := range n.Transmit {
					printNIC(t, n, strconv.Itoa(pair), "out", &n.Transmit[pair], n.TransmitLimits)
					printNIC(t, n, strconv.Itoa(pair), "in", &n.Receive[pair], n.ReceiveLimits)
				}
				if n.Transmit == nil {
					fmt.Fprintf(t, "%s\t%s\t%s\t-\t-\t-\t-\t-\tserved elsewhere: %s\n", n.Name, n.Path, n.MAC, n.Source)
				}
			}
			return t.Flush()
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func printNIC(t *tabwriter.Writer, n machine.NICInfo, pair, direction string, s *virtionet.Stats, l limit.Limits) {
	dropped := "0"
	if len(s.Drops) > 0 {
		dropped = fmt.Sprint(s.Drops)
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", n.Name, n.Path, n.MAC, pair, direction, s.Packets, s.Bytes, dropped, limitText(l))
}

func limitText(l limit.Limits) string {
	text := ""
	if l.Bytes.PerSecond != 0 {
		rate := sizeValue(l.Bytes.PerSecond)
		text = rate.String() + "B/s "
	}
	if l.Ops.PerSecond != 0 {
		text += fmt.Sprintf("%d/s", l.Ops.PerSecond)
	}
	if text == "" {
		return "none"
	}
	return text
}

func newVMDiskStatsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats NAME",
		Short: "What the disks of a VM were asked for",
		Args:  theOne("VM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			disks := []machine.DiskInfo{}
			t, err := askVM(cmd, args[0], "/disks", &disks, asJSON)
			if t == nil || err != nil {
				return err
			}
			fmt.Fprintln(t, "DISK\tSOURCE\tREADS\tREAD BYTES\tWRITES\tWRITTEN BYTES\tFLUSHES\tLIMIT")
			for _, d := range disks {
				fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", d.Name, d.Source, d.Reads, d.ReadBytes, d.Writes, d.WrittenBytes, d.Flushes, limitText(d.Limits))
			}
			return t.Flush()
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func newVMDiskSetCommand() *cobra.Command {
	var f rateFlags
	disk := diskName(0)
	cmd := &cobra.Command{
		Use:     "set NAME [flags]",
		Short:   "Limit what a disk of a VM moves",
		Example: "  tandem vm disk set web --rate 50M --ops 1000\n  tandem vm disk set web --disk disk1 --rate 0",
		Args:    theOne("VM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name := cmd.Context(), args[0]
			registry, err := vmRegistry()
			if err != nil {
				return err
			}
			var disks []machine.DiskInfo
			if err := registry.Call(ctx, name, http.MethodGet, "/disks", nil, &disks); err != nil {
				return err
			}
			for _, d := range disks {
				if d.Name == disk {
					return registry.Call(ctx, name, http.MethodPut, "/disks/"+disk+"/limits", f.apply(d.Limits), nil)
				}
			}
			return flagError("disk", disk, fmt.Sprintf("%s has no such disk", name))
		},
	}
	f.register(cmd, "requests")
	cmd.Flags().StringVar(&disk, "disk", disk, "`NAME` of the disk")
	return cmd
}

// askVM gets what a VM tells under a path, into a list. It prints that if JSON is wanted, and else gives a table to fill.
func askVM(cmd *cobra.Command, name, path string, list any, asJSON bool) (*tabwriter.Writer, error) {
	registry, err := vmRegistry()
	if err != nil {
		return nil, err
	}
	if err := registry.Call(cmd.Context(), name, http.MethodGet, path, nil, list); err != nil {
		return nil, err
	}
	if asJSON {
		return nil, printJSON(cmd.OutOrStdout(), list)
	}
	return tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0), nil
}

// theOne checks that one thing is named.
func theOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := atLeastOne(what)(cmd, args); err != nil {
			return err
		}
		if len(args) > 1 {
			return fmt.Errorf("%s: one %s, not also %q\nSee '%s --help'", cmd.CommandPath(), what, args[1], cmd.CommandPath())
		}
		return nil
	}
}
