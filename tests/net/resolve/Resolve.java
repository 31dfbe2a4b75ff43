// SPDX-License-Identifier: Apache-2.0

import java.io.File;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.security.Security;
import java.util.Properties;
import javax.naming.Context;
import javax.naming.NamingException;
import javax.naming.directory.Attribute;
import javax.naming.directory.InitialDirContext;

/** Java's InetAddress without its cache, until the file is there: Resolve NAME STOP. Prints "begun", and "look-ups failures".
 *  Resolve all NAME TYPE prints what A, AAAA or SRV (by JNDI) has, one a line. */
public class Resolve {
	private static void services(String name) throws NamingException {
		Properties how = new Properties();
		how.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.dns.DnsContextFactory");
		Attribute a = new InitialDirContext(how).getAttributes("dns:/" + name, new String[] {"SRV"}).get("SRV");
		for (int i = 0; a != null && i < a.size(); i++)
			System.out.println(a.get(i));
	}

	private static void all(String name, String type) {
		try {
			if (type.equals("SRV"))
				services(name);
			else
				for (InetAddress a : InetAddress.getAllByName(name))
					if (a instanceof Inet4Address == type.equals("A"))
						System.out.println(a.getHostAddress().replaceFirst("(:0){2,}:", "::"));
		} catch (UnknownHostException | NamingException e) {
			System.exit(1);
		}
	}

	public static void main(String[] args) throws InterruptedException {
		if (args[0].equals("all")) {
			all(args[1], args[2]);
			return;
		}
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
