// SPDX-License-Identifier: Apache-2.0

import java.io.File;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.security.Security;

/** Java's InetAddress without its cache, until the file is there: Resolve NAME STOP. Prints "begun", and "look-ups failures". */
public class Resolve {
	public static void main(String[] args) throws InterruptedException {
		File stop = new File(args[1]);
		int ops = 0, failures = 0;
		Security.setProperty("networkaddress.cache.ttl", "0");
		Security.setProperty("networkaddress.cache.negative.ttl", "0");
		for (; !stop.exists(); ops++, Thread.sleep(5)) {
			try {
				InetAddress.getAllByName(args[0]);
			} catch (UnknownHostException e) {
				System.err.println(ops + " " + e);
				failures++;
			}
			if (ops == 0)
				System.out.println("begun");
		}
		System.out.println(ops + " " + failures);
	}
}
