// SPDX-License-Identifier: GPL-2.0-or-later
// client CA ADDRESS URL...: GETs of all URLs, of one site, at once on one HTTP/2 connection to ADDRESS. Prints for each, in the
// order of the URLs: status, bytes, SHA-256.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
)

func fetch(client *http.Client, url string) string {
	response, err := client.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 {
		log.Fatal("not HTTP/2")
	}
	digest := sha256.New()
	size, err := io.Copy(digest, response.Body)
	if err != nil {
		log.Fatal(err)
	}
	return fmt.Sprintf("%d %d %x", response.StatusCode, size, digest.Sum(nil))
}

func main() {
	authority, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(to)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(os.Args[2], port))
		},
	}}
	urls := os.Args[3:]
	lines := make([]string, len(urls))
	var all sync.WaitGroup
	for i, url := range urls {
		all.Add(1)
		go func(i int, url string) {
			defer all.Done()
			lines[i] = fetch(client, url)
		}(i, url)
	}
	all.Wait()
	for _, line := range lines {
		fmt.Println(line)
	}
}
