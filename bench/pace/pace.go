// Package pace lets the probe code of a monitor carry out one check as often as it can, in
// a process of its own: what it links and keeps is in nobody else's memory. Those of others
// are in bench/peers, a module of its own, so that their dependencies are none of ours.
package pace

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Report is what a prober tells of itself, as JSON on its standard output.
type Report struct {
	Checks  int64   `json:"checks"`
	Seconds float64 `json:"seconds"`
	// CPU is the processor time of the process and of its children, in seconds.
	CPU float64 `json:"cpu"`
	// Resident is the resident set right after the last check, Anonymous what of it is in no
	// file, Heap what of the heap is in use then, garbage not yet collected included, and
	// Child the largest resident set of a child; in bytes.
	Resident  float64 `json:"resident"`
	Anonymous float64 `json:"anonymous"`
	Heap      float64 `json:"heap"`
	Child     float64 `json:"child"`
	// Failed is the first failure, with which everything ends.
	Failed string `json:"failed,omitempty"`
}

// Main is the program of a prober: prepare makes the check of that kind of that target.
func Main(prepare func(kind, target string) (func() error, error)) {
	kind := flag.String("kind", "http", "what is checked")
	target := flag.String("target", "", "URL, or host and port")
	span := flag.Duration("for", 5*time.Second, "how long")
	parallel := flag.Int("parallel", 16, "how many checks at once")
	profile := flag.String("profile", "", "write a profile of the processor time to this file")
	flag.Parse()
	check, err := prepare(*kind, *target)
	if err == nil {
		err = warm(check)
	}
	if err == nil && *profile != "" {
		var file *os.File
		if file, err = os.Create(*profile); err == nil {
			err = pprof.StartCPUProfile(file)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	report := run(check, *span, *parallel)
	pprof.StopCPUProfile()
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// warm makes the first checks, of which the first of all may compile something.
func warm(check func() error) error {
	for range 20 {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func run(check func() error, span time.Duration, parallel int) (r Report) {
	var all sync.WaitGroup
	var done atomic.Int64
	var failed atomic.Pointer[error]
	cpu, began := processorTime(), time.Now()
	for range parallel {
		all.Go(func() {
			for time.Since(began) < span && failed.Load() == nil {
				if err := check(); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	r.Checks, r.Seconds, r.CPU = done.Load(), time.Since(began).Seconds(), (processorTime() - cpu).Seconds()
	if err := failed.Load(); err != nil {
		r.Failed = (*err).Error()
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	var children syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children) // it fails for no such argument
	r.Heap, r.Child = float64(memory.HeapInuse), float64(children.Maxrss)*1024
	var err error
	if r.Resident, r.Anonymous, err = residentSet(); err != nil && r.Failed == "" {
		r.Failed = err.Error()
	}
	return r
}

func processorTime() (all time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		_ = syscall.Getrusage(who, &used) // it fails for no such argument
		all += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return all
}

// residentSet is how large it is, and what of it is anonymous.
func residentSet() (all, anonymous float64, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for name, size := range map[string]*float64{"VmRSS:": &all, "RssAnon:": &anonymous} {
		_, rest, found := strings.Cut(string(text), "\n"+name)
		if !found {
			return 0, 0, errors.New("the kernel does not say how large this process is")
		}
		kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		if err != nil {
			return 0, 0, err
		}
		*size = kib * 1024
	}
	return all, anonymous, nil
}
