package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// fioHome is where fio is in a guest.
const fioHome = "/fio"

// fioJob is one kind of load: fio's rw, bs and iodepth.
type fioJob struct {
	rw    string
	block string
	depth int
}

// argv is a command that does the job on a disk for the time of a reading.
func (j fioJob) argv(fio program, disk string) []string {
	return fio.argv(
		"--name=load", "--filename="+disk, "--rw="+j.rw, "--bs="+j.block, fmt.Sprintf("--iodepth=%d", j.depth),
		"--ioengine=libaio", "--direct=1", "--thread", "--time_based", fmt.Sprintf("--runtime=%d", loadSeconds),
		"--gtod_reduce=1", // no clock is read for latencies that nobody looks at
		"--output-format=json", "--eta=never",
	)
}

// read gives a function that has a guest do the job, and takes a figure of what came of it.
func (j fioJob) read(fio program, disk string, figure func(fioRate) float64) func(peer) (float64, error) {
	return func(p peer) (float64, error) {
		out, err := p.run(j.argv(fio, disk))
		if err != nil {
			return 0, err
		}
		rate, err := parseFio(out)
		return figure(rate), err
	}
}

// fioRate is one direction of a job in fio's report.
type fioRate struct {
	Requests float64 `json:"iops"`
	Bytes    float64 `json:"bw_bytes"` // a second
}

func requests(r fioRate) float64  { return r.Requests }
func megabytes(r fioRate) float64 { return r.Bytes / 1e6 }

// parseFio reads fio's report of one job that either reads or writes. Notes and warnings may come before it.
func parseFio(out []byte) (fioRate, error) {
	var report struct {
		Jobs []struct {
			Error int     `json:"error"` // an errno
			Read  fioRate `json:"read"`
			Write fioRate `json:"write"`
		} `json:"jobs"`
	}
	start := max(bytes.IndexByte(out, '{'), 0)
	if err := json.NewDecoder(bytes.NewReader(out[start:])).Decode(&report); err != nil {
		return fioRate{}, fmt.Errorf("fio's report: %w: %q", err, tail(string(out)))
	}
	if len(report.Jobs) != 1 {
		return fioRate{}, fmt.Errorf("fio's report: %d jobs, want 1", len(report.Jobs))
	}
	job := report.Jobs[0]
	if job.Error != 0 {
		return fioRate{}, fmt.Errorf("fio's report: the job's error is %d", job.Error)
	}
	rate := job.Read
	if rate == (fioRate{}) {
		rate = job.Write
	}
	if rate.Requests <= 0 || rate.Bytes <= 0 {
		return fioRate{}, errors.New("fio's report: nothing was read or written")
	}
	return rate, nil
}
