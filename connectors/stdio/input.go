package stdio

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/activedataflow/adf/fault"
)

// input is a stream that is read once, by one split reader, after a look at its beginning perhaps. Reads from the operating system can
// not be interrupted, so a goroutine does them, from the first one to the end of the stream, and whoever waits for it may give up.
type input struct {
	id     string // of its split: the input of another process is another one
	stream io.Reader
	pump   sync.Once
	blocks chan []byte
	failed error // why there are no more blocks; set before the channel is closed

	mu    sync.Mutex
	block []byte // of the last block, what nobody has read
	head  []byte // what a look ahead has read
	taken bool   // a split reader has it
}

// stdin is that of the process.
var stdin = newInput(os.Stdin)

func newInput(stream io.Reader) *input {
	nonce := make([]byte, 8)
	_, _ = rand.Read(nonce) // it never fails
	return &input{id: "stdin-" + hex.EncodeToString(nonce), stream: stream, blocks: make(chan []byte, 2)}
}

const blockSize = 128 << 10

// read reads what is there, or waits for it.
func (in *input) read(ctx context.Context, p []byte) (int, error) {
	in.pump.Do(func() { go in.run() })
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.block) == 0 {
		select {
		case b, more := <-in.blocks:
			if !more {
				return 0, in.failed
			}
			in.block = b
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	n := copy(p, in.block)
	in.block = in.block[n:]
	return n, nil
}

func (in *input) run() {
	defer close(in.blocks)
	for {
		b := make([]byte, blockSize)
		n, err := in.stream.Read(b)
		if n > 0 {
			in.blocks <- b[:n]
		}
		if err != nil {
			in.failed = err
			return
		}
	}
}

// peek gives a reader of the beginning that takes nothing away.
func (in *input) peek(ctx context.Context) io.Reader {
	in.mu.Lock()
	defer in.mu.Unlock()
	return io.MultiReader(bytes.NewReader(in.head), readerFunc(func(p []byte) (int, error) {
		n, err := in.read(ctx, p)
		in.mu.Lock()
		defer in.mu.Unlock()
		in.head = append(in.head, p[:n]...)
		return n, err
	}))
}

// take gives a reader of the whole stream, once.
func (in *input) take(ctx context.Context) (io.Reader, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.taken {
		return nil, gone("a flow of this process has read it before")
	}
	in.taken = true
	head := in.head
	in.head = nil
	return io.MultiReader(bytes.NewReader(head), readerFunc(func(p []byte) (int, error) { return in.read(ctx, p) })), nil
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// gone is about input that a pipe does not have any more.
func gone(why string) error {
	return &fault.SourceError{Detail: fault.Detail{
		Code: "stdin.gone", Doing: "go on reading", Connector: "stdin", Retry: fault.RetryNever, Err: errors.New("standard input can not be continued: " + why),
		Fix: "start the flow over with --fresh and give it the whole input again; to go on after a stop, read files instead",
	}}
}
