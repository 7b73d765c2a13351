// SPDX-License-Identifier: GPL-2.0-or-later
// java -Djdk.net.hosts.file=FILE Client.java CA URL...: GETs of all URLs, of one site, at once by HTTP/2. Prints for each, in the order
// of the URLs: status, bytes, SHA-256.
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Client {
	static SSLContext trusting(String file) throws Exception {
		KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
		store.load(null, null);
		try (FileInputStream in = new FileInputStream(file)) {
			store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
		}
		TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
		trust.init(store);
		SSLContext context = SSLContext.getInstance("TLS");
		context.init(null, trust.getTrustManagers(), null);
		return context;
	}

	static String tell(HttpResponse<byte[]> response) {
		if (response.version() != HttpClient.Version.HTTP_2)
			throw new IllegalStateException("not HTTP/2");
		try {
			byte[] digest = MessageDigest.getInstance("SHA-256").digest(response.body());
			return response.statusCode() + " " + response.body().length + " " + HexFormat.of().formatHex(digest);
		} catch (Exception exception) {
			throw new IllegalStateException(exception);
		}
	}

	public static void main(String[] arguments) throws Exception {
		HttpClient client = HttpClient.newBuilder().sslContext(trusting(arguments[0])).version(HttpClient.Version.HTTP_2).build();
		List<CompletableFuture<String>> answers = new ArrayList<>();

		for (int i = 1; i < arguments.length; i++) {
			HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[i])).build();
			// The first one alone: others would each open a connection of their own before there is one.
			CompletableFuture<String> answer = client.sendAsync(request, BodyHandlers.ofByteArray()).thenApply(Client::tell);
			if (i == 1)
				answer.join();
			answers.add(answer);
		}
		for (CompletableFuture<String> answer : answers)
			System.out.println(answer.join());
	}
}
