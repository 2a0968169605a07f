package operators

import "unsafe"

// arena holds the keys of groups until they are flushed. Its memory is used again.
type arena struct {
	blocks [][]byte
	at     int // the block being filled
	bytes  int
}

const arenaBlock = 16 << 10

// copy gives a copy of b that is good until the next reset.
func (a *arena) copy(b []byte) string {
	a.bytes += len(b)
	if len(b) == 0 {
		return ""
	}
	for a.at < len(a.blocks) && cap(a.blocks[a.at])-len(a.blocks[a.at]) < len(b) {
		a.at++
	}
	if a.at == len(a.blocks) {
		a.blocks = append(a.blocks, make([]byte, 0, max(arenaBlock, len(b))))
	}
	block := &a.blocks[a.at]
	n := len(*block)
	*block = append(*block, b...)
	return unsafe.String(&(*block)[n], len(b))
}

// size is the number of bytes copied since the last reset.
func (a *arena) size() int { return a.bytes }

// reset takes all copies back; blocks that were not needed are freed by and by.
func (a *arena) reset() {
	used := 0
	for i := range a.blocks {
		if len(a.blocks[i]) > 0 {
			used++
		}
		a.blocks[i] = a.blocks[i][:0]
	}
	if half := len(a.blocks) / 2; used < half {
		clear(a.blocks[half:])
		a.blocks = a.blocks[:half]
	}
	a.at, a.bytes = 0, 0
}
