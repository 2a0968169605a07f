// Command crash is a worker that ends at once.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("no luck today")
	os.Exit(3)
}
