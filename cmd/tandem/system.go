package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tandem/cmd/tandem/internal/box"
	"tandem/cmd/tandem/internal/card"
	"tandem/cmd/tandem/internal/machine"
)

func newSystemCommand() *cobra.Command {
	return newGroupCommand("system", "What containers take of this machine, and what crashes left", newSystemGCCommand(), newSystemDFCommand())
}

func newSystemGCCommand() *cobra.Command {
	var dry, asJSON bool
	cmd := &cobra.Command{
		Use:   "gc [flags]",
		Short: "Remove what crashes have left",
		Long: "Removes containers that are dead, that is, whose keeping process was killed: what still runs of them is killed, as\n" +
			"nobody would know of its end. Then layers, cgroups, leases of images and parts of the network that belong to no\n" +
			"container. What runs and is kept, and what has ended in order, is left alone.",
		Example: "  tandem system gc --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := box.Open()
			if err != nil {
				return err
			}
			home.Foreign = card.Alive
			collect := home.Collect
			if dry {
				collect = home.Leftovers
			}
			left, err := collect(cmd.Context())
			machines, vmErr := machine.Registry{Folder: filepath.Join(home.Run, vmsFolder)}.Collect(dry)
			for _, name := range machines {
				left = append(left, box.Leftover{Kind: "VM", Name: name, Why: "it was killed"})
			}
			err = errors.Join(err, vmErr)
			if asJSON {
				if left == nil {
					left = []box.Leftover{}
				}
				return errors.Join(printJSON(cmd.OutOrStdout(), left), err)
			}
			for _, l := range left {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", l.Kind, l.Name, l.Why)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "print what would be removed")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// diskUse is what one kind of thing takes.
type diskUse struct {
	Kind        string `json:"kind"`
	Count       int    `json:"count"`
	Active      int    `json:"active"`
	Bytes       int64  `json:"bytes"`
	Reclaimable int64  `json:"reclaimable"`
}

func newSystemDFCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "df",
		Short:   "Print what images and containers take of the disk",
		Example: "  tandem system df --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := box.Open()
			if err != nil {
				return err
			}
			uses, err := systemUse(home)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), uses)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 3, ' ', 0)
			fmt.Fprintln(table, "TYPE\tTOTAL\tACTIVE\tSIZE\tRECLAIMABLE")
			for _, u := range uses {
				fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\n", u.Kind, u.Count, u.Active, mebibytes(u.Bytes), mebibytes(u.Reclaimable))
			}
			return table.Flush()
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func systemUse(home *box.Home) ([]diskUse, error) {
	store, err := home.Images()
	if err != nil {
		return nil, err
	}
	images, err := store.Usage()
	if err != nil {
		return nil, err
	}
	leases, err := store.Leases()
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	for _, l := range leases {
		used[l.Image.String()] = true
	}
	list, err := home.List()
	boxes := diskUse{Kind: "Containers", Count: len(list)}
	for _, r := range list {
		size, sizeErr := folderSize(r.Folder())
		err = errors.Join(err, sizeErr)
		boxes.Bytes += size
		if (listed{r, r.Status()}).alive() {
			boxes.Active++
		} else {
			boxes.Reclaimable += size
		}
	}
	return []diskUse{
		{Kind: "Images", Count: images.Images, Active: len(used), Bytes: images.Blobs + images.Unpacked, Reclaimable: images.Garbage},
		boxes,
	}, err
}

// folderSize is what the files below a folder take of the disk. One that goes meanwhile takes nothing.
func folderSize(path string) (size int64, err error) {
	err = filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		var stat unix.Stat_t
		if err == nil && unix.Lstat(path, &stat) == nil {
			size += stat.Blocks * 512
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return size, err
}
