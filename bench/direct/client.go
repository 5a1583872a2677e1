// Calls one place by several ways in turn: see bench/direct.ts for what it is asked and answers.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/xds"
)

const method = "/echo.v1.EchoService/Echo"
const atOnce = 50

type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *(v.(*[]byte)), nil }
func (raw) Unmarshal(data []byte, v any) error { *(v.(*[]byte)) = append([]byte(nil), data...); return nil }
func (raw) Name() string                       { return "raw" }

var request = []byte("\x0a\x05hello")

func call(conn *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var answer []byte
	if err := conn.Invoke(ctx, method, &request, &answer, grpc.ForceCodec(raw{})); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cpu() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	single, _ := strconv.Atoi(os.Args[2])
	many, _ := strconv.Atoi(os.Args[3])
	ways := os.Args[4:]
	names, conns := []string{}, []*grpc.ClientConn{}
	for _, way := range ways {
		name, target, _ := strings.Cut(way, "=")
		conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		names, conns = append(names, name), append(conns, conn)
	}
	for round := 0; round <= rounds; round++ {
		for turn := range ways {
			at := (round + turn) % len(ways)
			took := make([]time.Duration, single)
			for i := range took {
				began := time.Now()
				call(conns[at])
				took[i] = time.Since(began)
			}
			before := cpu()
			var begun atomic.Int64
			var open sync.WaitGroup
			for range atOnce {
				open.Add(1)
				go func() {
					defer open.Done()
					for begun.Add(1) <= int64(many) {
						call(conns[at])
					}
				}()
			}
			open.Wait()
			used := cpu() - before
			sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
			text, _ := json.Marshal(map[string]any{
				"round": round, "name": names[at],
				"p50Us": float64(took[single/2].Nanoseconds()) / 1000,
				"cpuUs": float64(used.Nanoseconds()) / 1000 / float64(many),
			})
			fmt.Println(string(text))
		}
	}
}
