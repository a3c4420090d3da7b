// Of what `s3-server-program.ts` uses of it: it comes without types.

declare module '@20minutes/s3rver' {
  interface Context {
    path: string;
  }
  interface Store {
    getBucketPath: (bucket: string) => string;
    putContent: (file: string, content: unknown) => Promise<unknown>;
  }
  export default class S3rver {
    constructor(options: {
      address: string;
      port: number;
      directory: string;
      silent: boolean;
      vhostBuckets: boolean;
      configureBuckets: { name: string }[];
    });
    readonly middleware: ((context: Context, next: () => Promise<unknown>) => Promise<unknown>)[];
    readonly store: Store;
    run(): Promise<unknown>;
  }
}

declare module '@20minutes/s3rver/lib/models/account.js' {
  const account: { DUMMY_ACCOUNT: { createKeyPair: (id: string, secret: string) => void } };
  export default account;
}
