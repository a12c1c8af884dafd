package nettest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"tandem/internal/testenv"
)

const pageSize = 2 << 20 // many segments of 64 KiB

// Peers puts curl and iperf3 into a root file system: there, `/page PORT` prints the SHA256 of a page of the host's, and
// `/measure PORT [-R]` what iperf3 reports of a second's data to the host, or from it.
func Peers(r *RootFS) {
	r.t.Helper()
	testenv.Need(r.t, testenv.Curl, testenv.IPerf3)
	for _, name := range []string{"curl", "iperf3"} {
		program, err := exec.LookPath(name)
		r.must(err)
		r.Add(program, "bin/"+name)
	}
	r.Write("page", 0o755, toGateway+"\ncurl -sSf http://$gateway:$1/ >/tmp/page && sha256sum </tmp/page | sed 's/ .*//'\n")
	r.Write("measure", 0o755, toGateway+"\nport=$1\nshift\nexec "+strings.Join(IPerf3Client("$gateway", "$port"), " ")+" \"$@\"\n")
}

// IPerf3Client is the command line of a client, whose report is for CheckIPerf3.
func IPerf3Client(address, port string, more ...string) []string {
	return append([]string{"iperf3", "-c", address, "-p", port, "-t", "1", "--connect-timeout", "60000", "--json"}, more...)
}

// ServePage serves random bytes until the test is over, and gives their SHA256.
func ServePage(t testing.TB, l net.Listener) (digest string) {
	data := make([]byte, pageSize)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data) // it never fails
	serve(t, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(data) // the client tells
	}))
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// IPerf3Listens is what iperf3 -s says once it does, without the port.
const IPerf3Listens = "Server listening on "

// ServeIPerf3 starts iperf3 on the host, and returns when it listens. It takes one client. Ended waits for its end. In
// has a function run in the network namespace.
func ServeIPerf3(t testing.TB, in func(func() error) error, port string) (ended func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "iperf3", "-s", "-1", "--forceflush", "-p", port)
	var said strings.Builder
	var errs strings.Builder
	cmd.Stderr = &errs
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := in(cmd.Start); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	end := func() error {
		_, err := io.Copy(&said, out)
		return errors.Join(err, cmd.Wait())
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cancel()
			_ = end() // it was killed
		}
	})
	for !strings.Contains(said.String(), IPerf3Listens) {
		line, err := out.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			t.Fatalf("iperf3 -s does not listen: %v: %s%s", err, said.String(), errs.String())
		}
	}
	return func() {
		t.Helper()
		if err := end(); err != nil {
			t.Errorf("iperf3 -s: %v: %s%s", err, said.String(), errs.String())
		}
	}
}

// CheckIPerf3 looks at a client's report: whether bytes were moved, in the direction that was asked for. (With --json,
// the status of a client that failed is 0.)
func CheckIPerf3(t testing.TB, report string, reverse bool) {
	t.Helper()
	rate, err := parseIPerf3(report, reverse)
	if err != nil {
		t.Errorf("iperf3, reverse %v: %v: %s", reverse, err, report)
		return
	}
	t.Logf("iperf3, reverse %v: %.0f Mbit/s", reverse, rate/1e6)
}

// parseIPerf3 gives the bits a second that were received.
func parseIPerf3(report string, reverse bool) (rate float64, err error) {
	type sum struct {
		Bytes int64   `json:"bytes"`
		Rate  float64 `json:"bits_per_second"`
	}
	var r struct {
		Error string `json:"error"`
		Start struct {
			Test struct {
				Reverse int `json:"reverse"`
			} `json:"test_start"`
		} `json:"start"`
		End struct {
			Sent     sum `json:"sum_sent"`
			Received sum `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(report), &r); err != nil {
		return 0, err
	}
	switch sent, received := r.End.Sent.Bytes, r.End.Received.Bytes; {
	case r.Error != "":
		return 0, errors.New(r.Error)
	case (r.Start.Test.Reverse == 1) != reverse:
		return 0, fmt.Errorf("reverse is %d", r.Start.Test.Reverse)
	case sent <= 0 || received <= 0:
		return 0, fmt.Errorf("%d bytes were sent, %d received", sent, received)
	}
	return r.End.Received.Rate, nil
}
