import numpy as np, flint, time, math
from flint import arb, ctx
ctx.prec=300
from evsim.proof.numbers import pair_decay, decay, pair_add,pair_mul,pair_div
rng=np.random.default_rng(0)
U2=2.0**-106
t=time.time(); pair_decay((1.0,1e-20)); print('compile',time.time()-t)
w=[0,0,0,0]
for k in range(8000):
    x=float(rng.choice([rng.uniform(0,1),rng.uniform(0,40),rng.uniform(0,599),10**rng.uniform(-20,2), 0.34657359*rng.uniform(.999,1.001)]))
    lo=x*2**-53*rng.uniform(-1,1)*.99
    hi=x+lo; lo=lo-(hi-x) 
    x=hi
    e,p=pair_decay((x,lo))
    X=arb(x)+arb(lo)
    E=(-X).exp(); P=(1-E)/X
    a=float(abs((arb(e[0])+arb(e[1]))/E-1))/U2; b=float(abs((arb(p[0])+arb(p[1]))/P-1))/U2
    if a>w[0]: w[0]=a;w[2]=x
    if b>w[1]: w[1]=b;w[3]=x
print(w)
from evsim.jit import kernel
@kernel
def loop(n):
    s=0.0
    for k in range(n):
        e,p=pair_decay((k*1e-6,1e-24)); s+=e[0]+p[0]
    return s
loop(10)
for _ in range(4):
  t=time.time(); loop(1000000); print("ns",(time.time()-t)*1e3)
