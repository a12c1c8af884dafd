package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newTopCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "top [flags] CONTAINER [COLUMN...|PS OPTIONS]",
		Short: "List the processes of a container",
		Long: "Lists a container's processes, as the host sees them: its numbers and its names of users. They are read from\n" +
			"/proc, so the container needs no ps. Columns are those of ps -ef; others are asked for by their names, as words or\n" +
			"by -o, or by one of ps's usual options (-ef, -f, aux, -o LIST).\n\n" +
			"Columns: " + strings.Join(topColumnNames(), ", ") + ".\n" +
			"nspid is the number that a process has in the container.",
		Example: "  tandem top web\n  tandem top web pid nspid args\n  tandem top web -o pid,rss,comm\n  tandem top --json web aux",
		Args:    atLeastOne("container"),
		RunE: func(cmd *cobra.Command, args []string) error {
			columns, err := topColumnsOf(args[1:])
			if err != nil {
				return err
			}
			r, err := oneBox(args[0])
			if err != nil {
				return err
			}
			list, err := r.Processes()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), topRows(columns, newTopProcesses(list)))
			}
			return printTop(cmd.OutOrStdout(), columns, newTopProcesses(list))
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the container is ps's
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// Usual sets of columns.
var (
	topFull = strings.Fields("uid pid ppid c stime tty time cmd")                      // ps -ef
	topUser = strings.Fields("user pid %cpu %mem vsz rss tty stat start time command") // ps aux
	topSets = map[string][]string{"-e": nil, "-A": nil, "-f": topFull, "-ef": topFull, "-Af": topFull, "aux": topUser, "u": topUser, "ax": nil}
)

// topColumnsOf reads what stands behind the container: ps's options, or columns.
func topColumnsOf(words []string) ([]topColumn, error) {
	var names []string
	set := topFull
	for i := 0; i < len(words); i++ {
		word := words[i]
		usual, known := topSets[word]
		list, joined := strings.CutPrefix(word, "-o")
		switch {
		case known:
			if usual != nil {
				set = usual
			}
			continue
		case word == "-o" || word == "-eo" || word == "-Ao" || word == "--format":
			if i++; i == len(words) {
				return nil, fmt.Errorf("top: %s: the columns are missing, as in -o pid,comm", word)
			}
			list = words[i]
		case joined:
		case strings.HasPrefix(word, "-"):
			return nil, fmt.Errorf("top: ps's option %q is not known here: want -ef, aux, or -o with columns of %s", word, strings.Join(topColumnNames(), ", "))
		default:
			list = word
		}
		names = append(names, strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' })...)
	}
	if len(names) == 0 {
		names = set
	}
	var columns []topColumn
	for _, name := range names {
		c, err := findTopColumn(name)
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	return columns, nil
}

// topRows are objects with the columns' headings, in lower case, for names.
func topRows(columns []topColumn, list []topProcess) []map[string]string {
	rows := []map[string]string{}
	for _, p := range list {
		row := make(map[string]string)
		for _, c := range columns {
			row[strings.ToLower(c.heading)] = c.text(p)
		}
		rows = append(rows, row)
	}
	return rows
}

func printTop(w io.Writer, columns []topColumn, list []topProcess) error {
	table := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	var headings []string
	for _, c := range columns {
		headings = append(headings, c.heading)
	}
	fmt.Fprintln(table, strings.Join(headings, "\t"))
	for _, p := range list {
		var words []string
		for _, c := range columns {
			words = append(words, c.text(p))
		}
		fmt.Fprintln(table, strings.Join(words, "\t"))
	}
	return table.Flush()
}
